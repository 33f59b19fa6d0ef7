"""Our own cases for the rules, one module per operator family, each with a list ``CASES`` of ``make_case(...)``."""

from importlib import import_module
from pkgutil import iter_modules

from tests.judging.judge import Case


def own_cases() -> dict[str, Case]:
    """Every case of every module in this package, by name; a name given twice is an error."""
    cases: dict[str, Case] = {}
    for module in iter_modules(__path__):
        for case in import_module(f"{__name__}.{module.name}").CASES:
            name = f"{module.name}-{case.name}"
            if name in cases:
                raise ValueError(f"two cases are called {name}")
            cases[name] = case
    return cases
