"""Node packages of the clients, installed once into a folder that git ignores."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "tools" / "clients" / "node"
FOLDER = ROOT / ".cache" / "node"


def node_modules() -> Path:
    """The folder with onnxruntime-node as package-lock.json has it; skips where there is no npm at all."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are not installed, so onnxruntime-node cannot be run")
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = (CLIENT / "package-lock.json").read_bytes()
    stamp = FOLDER / "installed"
    with (FOLDER / "busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)  # test workers are processes of their own
        if not stamp.is_file() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(CLIENT / name, FOLDER / name)
            # the package's own install step would fetch CUDA libraries, which the CPU does not need
            environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, env=environment, check=True)
            stamp.write_bytes(lock)
    return FOLDER / "node_modules"
