"""How examples lie in a model's tensors, and so how many path points one evaluation can hold."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnx_ig.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Where the examples are.

    Attributes:
        kind: ``batched``: axis 0 is dynamic, so K path points of N examples ride as K·N rows; ``fixed``: axis 0 is a
            fixed number of examples; ``none``: the tensors hold one example and no batch axis. The latter two are
            evaluated one path point at a time.
        n: the number of examples where it is fixed.
        symbol: the name of the batch dimension where it has one.
    """

    kind: str
    n: int | None
    symbol: str | None

    @property
    def batched(self) -> bool:
        """Whether several path points fit in one evaluation."""
        return self.kind == "batched"


def layout_of(attributed: list[ir.Value], output: ir.Value) -> Layout:
    """The layout that the declared shapes tell.

    Raises:
        InputError: the output's number of axes is unknown, or the attributed inputs disagree on axis 0.
    """
    if output.shape is None:
        raise InputError(
            f"the number of axes of output {output.name!r} is unknown; declare its shape, or choose another output"
        )
    sizes = [None if x.shape is None or len(x.shape) == 0 else x.shape[0] for x in attributed]
    rows = output.shape[0] if len(output.shape) else None
    fixed = {size for size in sizes if isinstance(size, int)}
    if len(fixed) == 1 and len(sizes) == sum(isinstance(s, int) for s in sizes) and rows in fixed:
        return Layout("fixed", fixed.pop(), None)
    if not fixed and None not in sizes and rows is not None and not isinstance(rows, int):
        symbols = [s.value for s in sizes if isinstance(s, ir.SymbolicDim)]
        return Layout("batched", None, symbols[0])
    return Layout("none", 1, None)


def example_shape(output: ir.Value, layout: Layout) -> list[int | None]:
    """The output's dimensions for one example (None where dynamic); empty when it is one number."""
    assert output.shape is not None
    dims = [d if isinstance(d, int) else None for d in output.shape]
    dims = dims if layout.kind == "none" else dims[1:]
    return [] if all(d == 1 for d in dims) else dims
