"""Rules of control flow and of recurrent layers."""
