"""Rules of operators that slide a window over the axes of space."""
