"""The parts of tools/benchmark.py: what is measured, how, and the tables."""
