"""The VJP rules, one module per operator family; importing this package fills the table."""

from importlib import import_module
from pkgutil import iter_modules

# A new family is a new file here and nothing else.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
