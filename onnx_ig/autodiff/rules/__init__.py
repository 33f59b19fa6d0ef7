"""The VJP rules, a package per kind and a module per family; importing this package fills the table."""

from importlib import import_module
from pkgutil import walk_packages

# A new family is a new file here and nothing else.
for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)
