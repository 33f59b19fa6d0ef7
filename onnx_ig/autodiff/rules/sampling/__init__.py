"""Rules of operators that read between the elements, or at places of their own."""
