"""The job of ``attribute``: the examples in pieces, each explained and written before the next is read."""
