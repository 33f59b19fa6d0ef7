"""Types and shapes of operators outside the standard, which onnx's inference leaves open until they are rewritten."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnx_ig.loading.foreign.table import MICROSOFT, ML

# Those whose first output has the first input's shape, and its type if true; else float32.
_LIKE_FIRST_INPUT = {
    **{(ML, name): False for name in ("Scaler", "Normalizer")},
    **{(ML, name): True for name in ("Imputer", "Binarizer")},
    **{(MICROSOFT, name): True for name in ("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "BiasAdd")},
    **{(MICROSOFT, name): True for name in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")},
    (MICROSOFT, "RotaryEmbedding"): True,
}
# Those with a float32 row of as many columns for each row of the first input.
_COLUMNS: dict[tuple[str, str], Callable[[ir.Node], int]] = {
    (ML, "LinearRegressor"): lambda node: int(node.attributes.get_int("targets", 1)),
    (ML, "SVMRegressor"): lambda node: 1,
    (ML, "FeatureVectorizer"): lambda node: int(sum(node.attributes.get_ints("inputdimensions", []))),
    (ML, "TreeEnsembleRegressor"): lambda node: int(node.attributes.get_int("n_targets", 1)),
}


def infer_foreign(node: ir.Node) -> bool:
    """Fill in the type and shape of the node's first output where they are open; whether anything was found."""
    operator = node.domain, node.op_type
    x, y = next(iter(node.inputs), None), next(iter(node.outputs), None)
    if x is None or y is None:
        return False
    before = (y.dtype, y.shape)
    known = x.shape
    dtype: ir.DataType | None = ir.DataType.FLOAT
    if operator in _LIKE_FIRST_INPUT:
        shape = None if known is None else known.copy()
        if _LIKE_FIRST_INPUT[operator]:
            dtype = x.dtype
    elif operator in _COLUMNS:
        shape = ir.Shape([known[0], _COLUMNS[operator](node)]) if known is not None and len(known) == 2 else None
    elif operator == (MICROSOFT, "Tokenizer"):
        shape, dtype = None if known is None else ir.Shape([*known, None]), ir.DataType.STRING
    else:
        return False
    if y.dtype is None and dtype is not None:
        y.type = ir.TensorType(dtype)
    if y.shape is None:
        y.shape = shape
    return (y.dtype, y.shape) != before
