"""Operators outside the standard, rewritten in its own while a model is loaded; a file per family."""
