"""Torch models from files: what is good is read, and nothing in a file runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from onnx_ig.errors import ModelError, UsageError
from onnx_ig.pytorch.export import TorchExport, export_torch
from onnx_ig.pytorch.files import load_exported_program, load_factory, load_weights
from onnx_ig.pytorch.program_text import is_safe_operator, is_size_expression
from onnx_ig.runtime.session import Session

_FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))

ready = make()

def broken():
    raise RuntimeError("no such thing")

def number():
    return 3
"""


class _Runs:
    """Unpickled without restriction, it makes a folder: the proof that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a package ``factories_<unique>``, whose name is in ``name.txt``."""
    name = f"factories_{tmp_path.name.replace('-', '_').replace('[', '_').replace(']', '_')}"
    (tmp_path / f"{name}.py").write_text(_FACTORY)
    (tmp_path / "name.txt").write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _spec(workplace: Path, factory: str = "make") -> str:
    return f"{(workplace / 'name.txt').read_text()}:{factory}"


def _module() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).eval()


def _assert_same(exported: TorchExport, module: nn.Module, x: Tensor) -> None:
    session = Session(exported.model, provider="cpu")
    actual = session.run({session.input_names[0]: x.numpy()})[session.output_names[0]]
    np.testing.assert_allclose(actual, module(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["state_dict.pt", "nested.pth", "weights.safetensors"])
def test_factory_and_weights(workplace: Path, kind: str) -> None:
    module = _module()
    if kind.endswith(".safetensors"):
        safetensors.torch.save_file(module.state_dict(), kind)
    else:
        torch.save(
            {"state_dict": module.state_dict(), "epoch": 3} if kind == "nested.pth" else module.state_dict(), kind
        )
    exported = export_torch(_spec(workplace), torch.randn(1, 3), weights=kind)
    _assert_same(exported, module, torch.randn(5, 3))


def test_a_factory_may_be_a_module(workplace: Path) -> None:
    module = load_factory(_spec(workplace, "ready"))
    assert not any(submodule.training for submodule in module.modules())


@pytest.mark.parametrize(
    ("factory", "error", "said"),
    [
        ("absent", UsageError, "cannot find"),
        ("broken", ModelError, "RuntimeError: no such thing"),
        ("number", ModelError, "made a int"),
    ],
)
def test_factories_that_fail(workplace: Path, factory: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        load_factory(_spec(workplace, factory))


def test_weights_of_another_model(workplace: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt do not fit"):
        load_factory(_spec(workplace), "other.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_an_unsafe_pickle_of_weights_is_refused(tmp_path: Path, legacy: bool) -> None:
    path, proof = tmp_path / "evil.pt", tmp_path / "ran"
    torch.save({"w": _Runs(proof)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=r"evil\.pt is refused.*runs whatever code.*state_dict"):
        load_weights(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)  # the trap does work
    assert proof.exists()


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("absent.pt", None, UsageError, "no such file"),
        ("empty.pt", b"", ModelError, "not a file of torch weights"),
        ("random.pt", bytes(range(256)) * 4, ModelError, r"random\.pt"),
        ("random.safetensors", bytes(range(256)) * 4, ModelError, "not a readable .safetensors"),
        ("plain.pt", pickle.dumps({"a": 1}), ModelError, r"plain\.pt"),
    ],
)
def test_unreadable_weights(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=said):
        load_weights(tmp_path / name)


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="does not hold a state dict"):
        load_weights(tmp_path / "list.pt")


def _save_program(path: Path, examples: int = 2, dynamic: bool = True) -> nn.Module:
    module = _module()
    shapes = ({0: torch.export.Dim("n")},) if dynamic else None
    torch.export.save(torch.export.export(module, (torch.randn(examples, 3),), dynamic_shapes=shapes), path)
    return module


def test_a_saved_program(tmp_path: Path) -> None:
    module = _save_program(tmp_path / "model.pt2")
    exported = export_torch(tmp_path / "model.pt2")
    assert exported.dynamic_batch
    assert [str(size) for size in exported.model.graph.inputs[0].shape] == ["batch", "3"]
    for examples in (1, 5):
        _assert_same(exported, module, torch.randn(examples, 3))


def test_a_saved_program_of_fixed_batch_keeps_it(tmp_path: Path) -> None:
    module = _save_program(tmp_path / "model.pt2", examples=4, dynamic=False)
    exported = export_torch(str(tmp_path / "model.pt2"))
    assert not exported.dynamic_batch
    assert "batch size fixed in" in exported.note
    _assert_same(exported, module, torch.randn(4, 3))


def test_a_saved_program_with_keywords_is_refused(tmp_path: Path) -> None:
    class Keyword(nn.Module):
        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            return x * scale

    program = torch.export.export(Keyword(), (torch.ones(2),), {"scale": torch.ones(2)})
    torch.export.save(program, tmp_path / "keyword.pt2")
    with pytest.raises(ModelError, match="plain tensors as positional"):
        export_torch(tmp_path / "keyword.pt2")


def _rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> None:
    """A copy of an archive with its records changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def _pickled(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((_Runs(path),), buffer)
    return buffer.getvalue()


def _hide_in_examples(name: str, content: bytes, proof: Path) -> bytes:
    return _pickled(proof) if "sample_inputs" in name else content


def _hide_in_a_weight(name: str, content: bytes, proof: Path) -> bytes:
    if name.endswith("weights_config.json"):
        return content.replace(b'"use_pickle": false', b'"use_pickle": true')
    return _pickled(proof) if name.endswith("weights/weight_0") else content


def _hide_as_object(name: str, content: bytes, proof: Path) -> bytes:
    if name.endswith("constants_config.json"):
        meta = b'{"path_name": "opaque_obj_0", "is_param": false, "use_pickle": true, "tensor_meta": null}'
        return content.replace(b'"config": {', b'"config": {"c": ' + meta)
    return content


def _hide_in_a_size(name: str, content: bytes, proof: Path) -> bytes:
    code = f"__import__('os').mkdir('{proof}')".encode()
    return re.sub(rb'"expr_str": "[^"]*"', b'"expr_str": "' + code + b'"', content)


@pytest.mark.parametrize("hide", [_hide_in_examples, _hide_in_a_weight, _hide_as_object, _hide_in_a_size])
def test_code_hidden_in_a_saved_program_does_not_run(tmp_path: Path, hide: Callable[[str, bytes, Path], bytes]) -> None:
    proof, good, evil = tmp_path / "ran", tmp_path / "good.pt2", tmp_path / "evil.pt2"
    _save_program(good)
    _rewrite(good, evil, lambda name, content: hide(name, content, proof))
    if hide is _hide_as_object:
        with zipfile.ZipFile(evil, "a") as archive:
            folder = next(n for n in archive.namelist() if n.endswith("constants_config.json")).rpartition("/")[0]
            archive.writestr(f"{folder}/opaque_obj_0", pickle.dumps(_Runs(proof)))
    with pytest.raises(ModelError, match=r"evil\.pt2.*(could run code|is refused)"):
        load_exported_program(evil)
    assert not proof.exists()
    with contextlib.suppress(Exception):  # torch's own loader runs it, and may stumble then
        torch.export.load(evil)
    assert proof.exists()


def _argument(kind: str, value: Any, name: str = "") -> dict[str, Any]:
    return {"name": name, "arg": {kind: value}, "kind": 1}


_PYTHON = "input=__import__('os').mkdir('{proof}')"


def _call(target: str, *arguments: dict[str, Any]) -> Callable[[dict[str, Any], str], None]:
    """Has the program's first operator call ``target``."""

    def hide(program: dict[str, Any], proof: str) -> None:
        filled = json.loads(json.dumps(arguments).replace("{proof}", proof))
        program["graph_module"]["graph"]["nodes"][0] |= {"target": target, "inputs": filled}

    return hide


def _rename_its_input(program: dict[str, Any], proof: str) -> None:
    name = json.dumps(_PYTHON.replace("{proof}", proof))
    text = json.dumps(program).replace('{"name": "input"}', f'{{"name": {name}}}').replace('"input": {', f"{name}: {{")
    program |= json.loads(text)


def _name_a_class(program: dict[str, Any], proof: str) -> None:
    """The module is imported that holds the class of a dict's keys."""
    Path(proof).with_name("trap.py").write_text(f"import os\nos.mkdir({proof!r})")
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    keys = json.dumps([{"__enum__": True, "fqn": "trap:Colour", "name": "RED"}])
    signature["out_spec"] = json.dumps([1, {"type": "builtins.dict", "context": keys, "children_spec": []}])


_HIDDEN: dict[str, tuple[Callable[[dict[str, Any], str], None], str]] = {
    "from-file": (
        _call(
            "torch.ops.aten.from_file.default",
            _argument("as_string", "{proof}", "filename"),
            _argument("as_bool", True, "shared"),
            _argument("as_int", 4, "size"),
        ),
        "from_file",
    ),
    "a-name": (_rename_its_input, "stands where a name belongs"),
    "a-class": (_name_a_class, "imports Python modules"),
}


@pytest.mark.parametrize("name", sorted(_HIDDEN))
def test_what_a_saved_program_says_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither while it is read nor while its export is checked; and the trap does work in torch."""
    hide, said = _HIDDEN[name]
    proof, good, evil = tmp_path / "written", tmp_path / "good.pt2", tmp_path / "evil.pt2"
    monkeypatch.syspath_prepend(tmp_path)
    _save_program(good)

    def change(record: str, content: bytes) -> bytes:
        if not record.endswith("models/model.json"):
            return content
        program = json.loads(content)
        hide(program, str(proof))
        return json.dumps(program).encode()

    _rewrite(good, evil, change)
    with pytest.raises(ModelError, match=r"evil\.pt2.*is refused.*" + re.escape(said)):
        export_torch(evil)
    assert not proof.exists()
    with contextlib.suppress(Exception):
        torch.export.load(evil).module(check_guards=False)(torch.randn(2, 3))
    assert proof.exists()


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("torch.ops.aten.add.Tensor", True),
        ("torch.ops.aten.scaled_dot_product_attention.default", True),
        ("torch.ops.aten.gelu.default", True),
        ("torch.ops.aten.pad.default", True),
        ("torch.ops.prims.convert_element_type.default", True),
        ("torch.ops.higher_order.cond", True),
        ("_operator.floordiv", True),
        ("torch.sym_max", True),
        ("torch.ops.aten.add", False),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.aten.save", False),
        ("torch.ops.aten._print.default", False),
        ("torch.ops.aten.from_file.out", False),
        ("torch.ops.aten.set_.source_Storage", False),
        ("torch.ops.aten.no_such_operator.default", False),
        ("torch.ops.profiler._record_function_enter.default", False),
        ("torch.ops.debugprims.load_tensor.default", False),
        ("torch.ops.higher_order.print", False),
        ("torch.ops.higher_order.triton_kernel_wrapper_mutation", False),
        ("torch.ops.load_library", False),
        ("torch.save", False),
        ("torch.os.mkdir", False),
        ("_operator.attrgetter", False),
        ("#extension:anything", False),
    ],
)
def test_operators_of_saved_programs(target: str, safe: bool) -> None:
    assert is_safe_operator(target) == safe


class _ManyForms(nn.Module):
    """Control flow, modes, views by size and strings, as torch saves them."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"block-1": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)})

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().max()
        x = torch.vmap(torch.sin)(x)
        x = torch.cond(x.sum() > 0, lambda v: v * 2, lambda v: v * 3, (x,))
        x = self.parts["block-1"](x).reshape(x.shape[0], x.shape[1] * 4)
        return nn.functional.gelu(x, approximate="tanh")[:, : x.shape[1] // 2] / scale


def test_programs_of_many_forms_are_read(tmp_path: Path) -> None:
    module = _ManyForms().eval()
    program = torch.export.export(module, (torch.rand(3, 5, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "forms.pt2")
    x = torch.rand(2, 5, 4)
    loaded = load_exported_program(tmp_path / "forms.pt2").module(check_guards=False)
    torch.testing.assert_close(loaded(x), module(x))


def test_an_unchanged_copy_is_read(tmp_path: Path) -> None:
    _save_program(tmp_path / "good.pt2")
    _rewrite(tmp_path / "good.pt2", tmp_path / "copy.pt2", lambda _, content: content)
    assert load_exported_program(tmp_path / "copy.pt2").example_inputs is not None


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 8])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt2").write_bytes(content)
    with pytest.raises(ModelError, match=r"is not a \.pt2 file"):
        load_exported_program(tmp_path / "bad.pt2")


def test_a_truncated_archive(tmp_path: Path) -> None:
    _save_program(tmp_path / "good.pt2")
    content = (tmp_path / "good.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"cut\.pt2"):
        load_exported_program(tmp_path / "cut.pt2")


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("Symbol('s31', positive=True, integer=True)", True),
        ("Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-1))", True),
        ("FloorDiv(s0, 2) + Max(1, s1)**2", True),
        ("Eq(s0, 3) & ~(s1 < 4)", True),
        ("__import__('os')", False),
        ("exec(chr(112))", False),
        ("s0.func", False),
        ("[s0 for s0 in s1]", False),
        ("S('os.system')", False),
        ("Symbol(open)", False),
        ("s0 +", False),
    ],
)
def test_size_expressions(text: str, taken: bool) -> None:
    assert is_size_expression(text) == taken


def test_the_form_of_old_torch_is_refused(tmp_path: Path) -> None:
    _save_program(tmp_path / "good.pt2")
    with zipfile.ZipFile(tmp_path / "good.pt2", "a") as archive:
        archive.writestr("serialized_state_dict.pt", _pickled(tmp_path / "ran"))
    with pytest.raises(ModelError, match=r"before 2\.8"):
        load_exported_program(tmp_path / "good.pt2")
