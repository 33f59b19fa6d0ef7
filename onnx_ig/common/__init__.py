"""What modules of every package share: types, tables, files, threads."""
