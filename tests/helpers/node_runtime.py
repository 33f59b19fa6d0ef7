"""Node packages of the clients, each client's installed once into a folder that git ignores."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tools" / "clients"


def node_modules(client: str) -> Path:
    """The folder with the packages of ``client`` (node or web) as its package-lock.json has them."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.fail("Node.js and npm are not installed, so neither onnxruntime-node nor onnxruntime-web can be run")
    folder = ROOT / ".cache" / client
    folder.mkdir(parents=True, exist_ok=True)
    lock = (CLIENTS / client / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    with (folder / "busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)  # test workers are processes of their own
        if not stamp.is_file() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(CLIENTS / client / name, folder / name)
            # the package's own install step would fetch CUDA libraries, which the CPU does not need
            environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, env=environment, check=True)
            stamp.write_bytes(lock)
    return folder / "node_modules"


def node_path() -> str:
    """NODE_PATH with which the packages of both clients are found."""
    return os.pathsep.join(str(node_modules(client)) for client in ("node", "web"))
