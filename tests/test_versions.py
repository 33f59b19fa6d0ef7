"""The lowest versions that pyproject.toml declares are those that constraints-minimum.txt has installed and tested."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# not gpu, which needs one, and not the tests' own tools
EXTRAS = ("cpu", "torch", "viz", "audio", "tables", "text", "openvino", "browser")
DECLARED = [
    Requirement(line)
    for line in (*PROJECT["dependencies"], *(x for extra in EXTRAS for x in PROJECT["optional-dependencies"][extra]))
]


def pinned(file: str) -> dict[str, Version]:
    """The exact versions of a constraints file by package."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines())
    entries = (line.split("==") for line in lines if line)
    return {canonicalize_name(name): Version(version) for name, version in entries}


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda r: r.name)
def test_declared_minimum_is_the_tested_one(requirement: Requirement) -> None:
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    name = canonicalize_name(requirement.name)
    assert pinned("constraints-minimum.txt")[name] == Version(bound.version)
    assert pinned("constraints.txt")[name] >= Version(bound.version)
