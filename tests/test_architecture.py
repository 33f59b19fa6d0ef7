"""The order of the packages: an import points to the same package or a lower one, and no files import each other.

The one idea: the list below is the architecture, CONTRIBUTING.md prints it, and every import counts: lazy ones and
those for type checkers too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest first. CONTRIBUTING.md says what each is for.
ORDER = (
    "errors",
    "common",
    "quadrature",
    "stopping",
    "runtime",
    "graph",
    "autodiff",
    "pytorch",
    "loading",
    "differentiation",
    "attribution",
    "inspection",
    "data",
    "report",
    "engine",
    "methods",
    "deployed",
    "timing",
    "checking",
    "exporting",
    "web",
    "cli",
)
# The same within a package whose files are in folders; its `__init__` is a door.
WITHIN = {"onnx_ig.cli": ("terminal", "options", "reading", "attributing", "commands", "app")}
SHARED = ("tests.helpers", "tests.judging")  # what tests and tools have in common
DOORS = ("onnx_ig", "onnx_ig.__main__")  # the package's own name and `python -m onnx_ig`: they may import everything


def modules(root: Path, *tops: str) -> dict[str, Path]:
    """Every module below the folders ``tops`` of ``root``, by its dotted name."""
    found = {}
    for path in sorted(path for top in tops for path in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that the file imports anywhere in its text, by their names in ``known`` where they have one there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in names)


def wrong_imports(root: Path) -> list[str]:
    """Each import of the package that the order does not allow, and each module without a place in it."""
    known = modules(root, "onnx_ig")
    wrong = []
    for module, path in known.items():
        place = _place(module)
        if place is None:
            wrong += [] if module in DOORS else [f"{module} is in no package of the order"]
            continue
        for name in set(imported(path, known)):
            if name in DOORS or (name in known and (_place(name) or 0) > place) or _above_within(module, name):
                wrong.append(f"{module} imports {name}, which is above it")
    return sorted(wrong)


def circles(root: Path) -> list[str]:
    """Modules that import each other, each circle as one line."""
    known = modules(root, "onnx_ig")
    graph = {module: [name for name in set(imported(path, known)) if name in known] for module, path in known.items()}
    state: dict[str, int] = {}
    found = []

    def visit(module: str, trail: tuple[str, ...]) -> None:
        state[module] = 1
        for name in graph[module]:
            if state.get(name) == 1:
                found.append(" → ".join((*trail[trail.index(name) :], name)))
            elif name not in state:
                visit(name, (*trail, name))
        state[module] = 2

    for module in graph:
        if module not in state:
            visit(module, (module,))
    return found


def _place(module: str) -> int | None:
    package = module.split(".")[1] if "." in module else ""
    return ORDER.index(package) if package in ORDER else None


def _above_within(module: str, name: str) -> bool:
    """Whether both are in one package of ``WITHIN`` and the second is higher there, or is the package itself."""
    package = ".".join(module.split(".")[:2])
    order = WITHIN.get(package)
    if order is None or module == package or not f"{name}.".startswith(f"{package}."):
        return False
    return name == package or order.index(name.split(".")[2]) > order.index(module.split(".")[2])


def test_every_import_points_downwards() -> None:
    assert wrong_imports(ROOT) == []


def test_no_files_import_each_other() -> None:
    assert circles(ROOT) == []


def test_tests_stand_on_helpers_alone() -> None:
    """Tests read nothing of tools, but those of tools themselves; tools read the helpers; no test is imported."""
    known = modules(ROOT, "onnx_ig", "tools", "tests")
    for module, path in known.items():
        for name in imported(path, known):
            file = known.get(name)
            assert file is None or not file.name.startswith("test_"), f"{module} imports {name}, a test"
            if module.startswith("tests.") and not module.startswith("tests.tools."):
                assert name.split(".")[0] != "tools", f"{module} imports {name}"
            if name.startswith("tests.") and not module.startswith("tests."):
                assert module.startswith("tools.") and name.startswith(SHARED), f"{module} imports {name}"


def test_the_order_is_printed() -> None:
    """CONTRIBUTING.md has the same list, lowest first, each with a line of its own."""
    rows = re.findall(r"^\| `onnx_ig/(\w+)(?:/|\.py)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert rows == list(ORDER)


def test_commands_are_listed() -> None:
    """tools/README.md has a line for each module of tools/ that can be started, and for no other."""
    rows = re.findall(r"^\| `python -m tools\.(\w+)` \|", (ROOT / "tools" / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(f.stem for f in (ROOT / "tools").glob("*.py") if "__main__" in f.read_text())


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "tools/README.md"])
def test_paths_that_are_named_exist(document: str) -> None:
    """Paths in backticks, from the root or from onnx_ig/, and the targets of links."""
    text = re.sub(r"^( {4}|```).*?$", "", (ROOT / document).read_text(), flags=re.MULTILINE)
    named = re.findall(
        r"`((?:onnx_ig|tests|tools|models|autodiff|graph|loading|runtime|checking|data|cli)/[\w/.]*)`", text
    )
    linked = [link for link in re.findall(r"\]\(([^):#]+)\)", text) if "//" not in link]
    assert linked
    missing = [path for path in named if not ((ROOT / path).exists() or (ROOT / "onnx_ig" / path).exists())]
    assert missing + [link for link in linked if not (ROOT / document).parent.joinpath(link).exists()] == []


WRONG = {
    "upwards": ("errors.py", "from onnx_ig.cli import app\n", "onnx_ig.errors imports onnx_ig.cli"),
    "lazily": ("graph/x.py", "def f():\n    import onnx_ig.loading.model\n", "onnx_ig.graph.x imports onnx_ig.loading"),
    "for type checkers": (
        "runtime/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from onnx_ig.engine import grid\n",
        "onnx_ig.runtime.x imports onnx_ig.engine",
    ),
    "upwards within a package": (
        "cli/terminal/x.py",
        "from onnx_ig.cli.reading import values\n",
        "onnx_ig.cli.terminal.x imports onnx_ig.cli.reading.values",
    ),
    "the package itself": ("graph/x.py", "import onnx_ig\n", "onnx_ig.graph.x imports onnx_ig,"),
    "a module without a place": ("helpers.py", "", "onnx_ig.helpers is in no package"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_import_is_found(name: str, tmp_path: Path) -> None:
    file, text, expected = WRONG[name]
    for module, path in modules(ROOT, "onnx_ig").items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
        assert module
    changed = tmp_path / "onnx_ig" / file
    changed.write_text((changed.read_text() if changed.exists() else "") + text)
    assert [line for line in wrong_imports(tmp_path) if line.startswith(expected)]


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "onnx_ig").mkdir()
    (tmp_path / "onnx_ig" / "a.py").write_text("def f():\n    from onnx_ig import b\n")
    (tmp_path / "onnx_ig" / "b.py").write_text("from onnx_ig.a import f\n")
    assert circles(tmp_path) == ["onnx_ig.a → onnx_ig.b → onnx_ig.a"]
