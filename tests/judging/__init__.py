"""Judging a gradient against differences of the model itself, in float64: the standard's tests, random graphs."""
