"""Models in float64: the independent side of every comparison of a gradient."""
