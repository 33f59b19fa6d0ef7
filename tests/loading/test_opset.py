"""Every old and new form of an operator computes the same after normalisation as before, in ONNX Runtime."""

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_ig.errors import ModelError
from onnx_ig.loading.model import load
from onnx_ig.loading.opset_adapters import ADAPTERS
from onnx_ig.runtime.session import Session
from tests.helpers.opset_forms import COMPATIBLE_BY_HAND, DOWN, FORMS, KEPT, REFUSED, Form

ARRAYS = {"float": np.float32, "int64": np.int64, "float16": np.float16, "uint8": np.uint8}


def proto_of(form: Form) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: {form.ir_version}, opset_import: ["" : {form.opset}]>\n{form.text}')


def feeds_for(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    initialised = {t.name for t in proto.graph.initializer}
    for x in proto.graph.input:
        if x.name in initialised:
            continue
        shape = [d.dim_value if d.HasField("dim_value") else 2 for d in x.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type)
        value = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feeds[x.name] = value.astype(dtype)
    return feeds


def run(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return Session(proto, "cpu", threads=1).run(feeds)


def normalised(proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnx_ir as ir

    return ir.to_proto(load(proto).ir_model)


def same(proto: onnx.ModelProto) -> onnx.ModelProto:
    feeds = feeds_for(proto)
    result = normalised(proto)
    onnx.checker.check_model(result)
    assert [x.name for x in result.graph.input] == list(feeds)
    assert [y.name for y in result.graph.output] == [y.name for y in proto.graph.output]
    expected, got = run(proto, feeds), run(result, feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)
        assert got[name].dtype == value.dtype
    return result


def opset_of(proto: onnx.ModelProto) -> int:
    return next(entry.version for entry in proto.opset_import if entry.domain == "")


@pytest.mark.parametrize("name", FORMS)
def test_an_old_form_computes_the_same_at_opset_18(name: str) -> None:
    assert opset_of(same(proto_of(FORMS[name]))) == 18


@pytest.mark.parametrize("name", FORMS)
def test_an_old_form_without_shapes_computes_the_same(name: str) -> None:
    proto = proto_of(FORMS[name])
    feeds = feeds_for(proto)
    expected = run(proto, feeds)
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.ClearField("shape")
    got = run(normalised(proto), feeds)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DOWN)
def test_a_newer_form_comes_down_to_opset_18(name: str) -> None:
    assert opset_of(same(proto_of(DOWN[name]))) == 18


@pytest.mark.parametrize("name", KEPT)
def test_what_18_lacks_keeps_the_models_own_opset(name: str) -> None:
    assert opset_of(normalised(proto_of(KEPT[name]))) == KEPT[name].opset


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_brought_to_18_is_refused_by_name(name: str) -> None:
    form, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        load(proto_of(form))


def test_every_operator_whose_form_changed_has_an_adapter_or_a_reason() -> None:
    """Compared with the standard's schemas: an operator that changes in a way nobody thought of fails here."""
    history: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, []).append(schema.since_version)
    unknown = []
    for name in sorted(history):
        for opset in range(7, 18):
            if not onnx.defs.has(name, opset, "") or name in ADAPTERS or name in COMPATIBLE_BY_HAND:
                continue
            old = onnx.defs.get_schema(name, opset, "")
            if old.deprecated or not _extends(onnx.defs.get_schema(name, 18, ""), old):
                unknown.append(f"{name} at opset {opset}")
    assert not unknown
    assert set(ADAPTERS) <= set(history)


def _extends(new: onnx.defs.OpSchema, old: onnx.defs.OpSchema) -> bool:
    """Whether a node of the old form means the same in the new one: what is new is optional, nothing is gone."""
    if new.since_version == old.since_version:
        return True
    if new.deprecated or len(new.outputs) < len(old.outputs) or len(new.inputs) < len(old.inputs):
        return False
    if any(not _is_optional(x) for x in new.inputs[len(old.inputs) :]):
        return False
    return set(new.attributes) == set(old.attributes) and all(
        new.attributes[a].default_value == old.attributes[a].default_value for a in old.attributes
    )


def _is_optional(formal: onnx.defs.OpSchema.FormalParameter) -> bool:
    return formal.option == onnx.defs.OpSchema.FormalParameterOption.Optional
