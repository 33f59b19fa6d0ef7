"""Operators outside the standard, rewritten in its own while a model is loaded; a file per family.

Importing this package fills the table of lowerings.
"""

from importlib import import_module
from pkgutil import iter_modules

# A new family is a new file here and nothing else.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
