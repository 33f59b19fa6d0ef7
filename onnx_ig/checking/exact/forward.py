"""Evaluate a model in float64: by ONNX Runtime where it has the kernels, else by onnx's reference evaluator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_ig.checking.exact.kernels import KERNELS
from onnx_ig.checking.exact.widening import all_nodes
from onnx_ig.errors import OnnxIgError
from onnx_ig.runtime.session import Session

# Operators that ONNX Runtime's float64 kernels compute in float32, or only when run admit not to know, or (Attention
# with nonpad_kv_seqlen) in an older sense of the standard, or (DFT to a real signal of given length) wrongly, or
# (Dropout) with another mask at each run.
_FLOAT32_INSIDE = frozenset({"Shrink", "GRU", "LSTM", "Attention", "DFT", "Dropout"})


class Forward:
    """A model evaluated in float64: by ONNX Runtime where it has the kernels, else by onnx's reference evaluator."""

    def __init__(self, model: onnx.ModelProto) -> None:
        model = copy.deepcopy(model)
        model.ir_version = min(model.ir_version, 10)
        self.names = [o.name for o in model.graph.output]
        self.input_names = [x.name for x in model.graph.input]
        self.session: Session | None = None
        try:
            if not any(node.op_type in _FLOAT32_INSIDE for node in all_nodes(model.graph)):
                self.session = Session(model, "cpu", threads=1)
        except OnnxIgError:
            pass
        self.model = model
        self.evaluator: ReferenceEvaluator | None = None

    def __call__(self, feeds: dict[str, Any]) -> dict[str, np.ndarray]:
        if self.session is not None:
            try:
                return self.session.run({n: v for n, v in feeds.items() if n in self.session.input_names})
            except OnnxIgError:
                self.session = None  # some kernels refuse an attribute only when they run
        if self.evaluator is None:
            self.evaluator = ReferenceEvaluator(self.model, new_ops=KERNELS)
        return dict(zip(self.names, self.evaluator.run(None, feeds), strict=True))
