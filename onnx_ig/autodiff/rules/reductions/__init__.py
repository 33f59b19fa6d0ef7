"""Rules of reductions and of running sums."""
