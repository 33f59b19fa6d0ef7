"""The parts of tools/profile_table.py: what a product costs, and the profiles of the two runtimes."""
