"""Graph passes that work around faults of other programs, one a file: what they do wrong, and how it is avoided.

The one idea: a fault goes away one day, and so does its file. Each names the program, the versions in which the fault
was seen and the public report of it; ``tests/graph/test_quirks.py`` fails on the day that the fault is gone.
"""
