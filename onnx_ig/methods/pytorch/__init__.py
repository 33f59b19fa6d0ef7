"""Torch functions as what the methods explain: exported when called, and held to the function since."""
