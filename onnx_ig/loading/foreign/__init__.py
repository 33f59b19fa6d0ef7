"""Operators outside the standard, rewritten in its own while a model is loaded: packages by origin, a file per family.

Importing this package fills the table (:mod:`onnx_ig.loading.foreign.table`).
"""

from importlib import import_module
from pkgutil import walk_packages

# A new family is a new file in microsoft/ or ml/ and nothing else.
for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)
