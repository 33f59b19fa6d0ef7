"""The steps random graphs are drawn from."""
