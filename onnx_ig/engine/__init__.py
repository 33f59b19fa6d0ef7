"""Evaluating a grid of examples × path points, within memory, and asking whether that is right for a model."""
