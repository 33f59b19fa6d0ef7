"""Whether results are right: references, differences, the other runtimes."""
