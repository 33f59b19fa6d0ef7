"""Captum's own tests, run with our classes in the place of Captum's: ``python -m tools.captum_tests``.

The tests are Captum's and stay out of this repository. Of its releases 0.2.0 is the last whose source archive holds
them; pip fetches that into ``.cache``. ``--folder`` takes a checkout of Captum instead, or a part of one with
``tests/attr`` in it. Captum itself is the folder's, if it holds the package, else the installed one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from tests.helpers.packages import sources_from_pypi

RELEASE = "captum==0.2.0"
# What is tested, below tests/attr.
TESTS = (
    "test_integrated_gradients_basic.py",
    "test_integrated_gradients_classification.py",
    "test_input_x_gradient.py",
)


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A checkout of Captum.")
@click.option("--processes", default=2, show_default=True)
@click.argument("options", nargs=-1)
def main(folder: Path | None, processes: int, options: tuple[str, ...]) -> None:
    """Run Captum's tests of the methods that we have too; OPTIONS go to pytest."""
    folder = (folder or sources_from_pypi(RELEASE)).resolve()
    files = [str(folder / "tests" / "attr" / name) for name in TESTS]
    paths = [str(folder), *filter(None, sys.path)]  # Captum's folder first: its tests import their own package "tests"
    start = time.perf_counter()
    plain = ["-c", "/dev/null", "--rootdir", str(folder), "-p", "no:cacheprovider", "-q", "-W", "ignore"]
    command = [*plain, "-p", "tools.with_our_classes", "-n", str(processes), *files, *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    code = subprocess.run([sys.executable, "-m", "pytest", *command], env=environment).returncode
    processors = os.times().children_user + os.times().children_system
    print(f"{time.perf_counter() - start:.1f} s, {processors:.1f} s of processors' time in all processes")
    sys.exit(code)


if __name__ == "__main__":
    main()
