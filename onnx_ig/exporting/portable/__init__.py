"""The portable form of an attribution model: for runtimes that want sizes known, and have no loops.

The one idea: what a file leaves open for its caller is settled when it is written, and what then is known is computed.
"""
