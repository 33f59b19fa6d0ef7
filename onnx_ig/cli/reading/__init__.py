"""From what stands on the command line, files and names, to models, arrays and targets."""
