"""Rules of normalisations."""
