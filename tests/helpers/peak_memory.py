"""How much memory some lines of Python take at their peak, in a process of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
_PEAK = """
import sys
def peak(): return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
"""


def megabytes(before: str, measured: str, *arguments: str) -> float:
    """By how much ``measured`` raises the peak of a process that has run ``before``; both find ``sys.argv``."""
    code = f"{_PEAK}\n{before}\nstart = peak()\n{measured}\nprint(peak() - start)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])
