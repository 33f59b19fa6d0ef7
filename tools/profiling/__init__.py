"""The parts of tools.profile_table: what a product costs, and the profiles of the two runtimes."""
