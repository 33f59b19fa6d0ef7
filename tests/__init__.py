"""Tests, one table-driven file per concern, and the networks they share."""
