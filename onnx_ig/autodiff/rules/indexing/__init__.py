"""Rules of operators that choose, move and join elements."""
