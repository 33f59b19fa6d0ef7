"""The parts of tools.benchmark: what is measured, how, and the tables."""
