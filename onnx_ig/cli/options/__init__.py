"""Options of several commands, each defined once and parsed into a value before a command sees it."""
