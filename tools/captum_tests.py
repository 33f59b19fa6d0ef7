"""Captum's own tests, run with our classes in the place of Captum's: ``python -m tools.captum_tests``.

The tests are Captum's and stay out of this repository. Of its releases 0.2.0 is the last whose source archive holds
them; pip fetches that into ``.cache``. ``--folder`` takes a checkout of Captum instead, or a part of one with
``tests/attr`` in it. Captum itself is the folder's, if it holds the package, else the installed one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click
import pytest

import onnx_ig
from tests.helpers.packages import sources_from_pypi

RELEASE = "captum==0.2.0"
# What is tested, below tests/attr; and the module of Captum that defines each class that is replaced.
TESTS = (
    "test_integrated_gradients_basic.py",
    "test_integrated_gradients_classification.py",
    "test_input_x_gradient.py",
)
HOMES = {"IntegratedGradients": "integrated_gradients", "InputXGradient": "input_x_gradient"}


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A checkout of Captum.")
@click.option("--processes", default=2, show_default=True)
@click.argument("options", nargs=-1)
def main(folder: Path | None, processes: int, options: tuple[str, ...]) -> None:
    """Run Captum's tests of the methods that we have too; OPTIONS go to pytest."""
    folder = (folder or sources_from_pypi(RELEASE)).resolve()
    files = [str(folder / "tests" / "attr" / name) for name in TESTS]
    sys.path.insert(0, str(folder))
    start = time.perf_counter()
    plain = ["-c", "/dev/null", "--rootdir", str(folder), "-p", "no:cacheprovider", "-q", "-W", "ignore"]
    code = pytest.main([*plain, "-p", __spec__.name, "-n", str(processes), *files, *options])
    used = os.times()
    cpu = used.user + used.system + used.children_user + used.children_system
    print(f"{time.perf_counter() - start:.1f} s, {cpu:.1f} s of processors' time in all processes")
    sys.exit(code)


def pytest_configure() -> None:
    """Put our classes where the tests import Captum's from; in each of pytest's processes."""
    import captum.attr

    for name, home in HOMES.items():
        ours = getattr(onnx_ig, name)
        setattr(captum.attr, name, ours)
        setattr(sys.modules[f"captum.attr._core.{home}"], name, ours)


if __name__ == "__main__":
    main()
