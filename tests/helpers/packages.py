"""Packages that one check needs and no user does, fetched from PyPI once into .cache, beside the environment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"


def from_pypi(requirement: str) -> Path:
    """The folder with the package of ``requirement``, name==version, without what it depends on.

    Raises:
        subprocess.CalledProcessError: pip cannot fetch it.
    """
    folder = CACHE / requirement
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps"]
        subprocess.run([*pip, "--target", folder, requirement], check=True)
    return folder


def sources_from_pypi(requirement: str) -> Path:
    """The unpacked source archive of ``requirement``, name==version: its tests are there, if it ships any.

    Raises:
        subprocess.CalledProcessError: pip cannot fetch it.
    """
    folder = CACHE / "sources" / requirement.replace("==", "-")
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--no-build-isolation", "--dest", folder.parent, requirement], check=True)
        with tarfile.open(f"{folder}.tar.gz") as archive:
            archive.extractall(folder.parent, filter="data")
    return folder
