"""The contract of an attribution model, as the file itself carries it: metadata property ``onnx_ig.contract``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np

from onnx_ig.common.types import Array, SumOver
from onnx_ig.loading.model import CONTRACT

Size = TypeVar("Size")
KEY = CONTRACT
VERSION = 1

ATTRIBUTION = "attribution_"
BASELINE = "baseline_"
TARGET = "target"
PATH_NODES, PATH_WEIGHTS, PATH_PARTS = "path_nodes", "path_weights", "path_parts"
SCORE, BASELINE_SCORE, PATH_SCORES = "score", "baseline_score", "path_scores"
CONVERGENCE_DELTA, TARGET_USED = "convergence_delta", "target_used"
ERROR_ESTIMATE, STEPS_USED = "error_estimate", "steps_used"
OF_EXAMPLES = (SCORE, BASELINE_SCORE, CONVERGENCE_DELTA, ERROR_ESTIMATE, STEPS_USED)  # one number each, of a target
NESTED = "nested-clenshaw-curtis"  # the rule of a path that goes on until a tolerance is reached


@dataclass(frozen=True)
class ContractInput:
    """One input: ``role`` is attributed, per_example, shared, target, baseline or path.

    ``shape`` holds ints and symbols.
    """

    name: str
    role: str
    dtype: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class Contract:
    """What an attribution model computes and how it is called (JSON Schema: onnx_ig/attribution/contract.schema.json).

    Outputs are called ``prefix`` + the names above; ``layout`` is batched, fixed or none. ``straight_through``: how
    many nodes of which operators have a straight-through derivative (quantised models). ``targets``: how many an
    example has; several have an axis behind that of the examples, in the attributions, in all numbers of an example
    and in the input of targets. ``sum_over``: along what the attributions are added up, ``summed_axes`` the axis of
    each tensor in ``at``, of those of the tensor itself; it stays with size 1.
    """

    form: str
    algorithm: str
    multiply_by_inputs: bool
    output: str
    at: list[str]
    layout: str
    inputs: list[ContractInput]
    baked: dict[str, Any] = field(default_factory=dict)
    straight_through: dict[str, int] = field(default_factory=dict)
    source_sha256: str = ""
    prefix: str = ""
    version: int = VERSION
    targets: int = 1
    sum_over: SumOver | None = None
    summed_axes: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The JSON object stored under :data:`KEY`."""
        said = asdict(self)
        if self.targets == 1:  # as files say it that know of no others
            del said["targets"]
        if self.sum_over is None:
            del said["sum_over"], said["summed_axes"]
        return json.dumps(said, separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Contract:
        """Read :meth:`to_json`'s object.

        Raises:
            ValueError: not a contract of this version.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise ValueError(f"not an onnx_ig contract of version {VERSION}")
        data["inputs"] = [ContractInput(**entry) for entry in data["inputs"]]
        return Contract(**data)

    def first_targets(self, examples: int) -> dict[str, Array]:
        """The target input's value by its name where each output turned out to be one number; {} without that input."""
        return {
            entry.name: np.zeros([examples, *(d for d in entry.shape[1:] if isinstance(d, int))], np.int64)
            for entry in self.inputs
            if entry.role == "target"
        }

    def summed(self, name: str, shape: Sequence[Size]) -> list[Size | int]:
        """The ``shape`` of a tensor in ``at`` as its attribution has it for one target: 1 where it is summed over."""
        axis = self.summed_axes.get(name)
        return [1 if place == axis else size for place, size in enumerate(shape)]

    def named(self, role: str) -> list[str]:
        """The inputs with ``role``, in order."""
        return [entry.name for entry in self.inputs if entry.role == role]
