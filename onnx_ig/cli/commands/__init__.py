"""The commands, one a file: they parse, call the API and print."""
