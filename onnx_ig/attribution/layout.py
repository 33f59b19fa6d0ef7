"""How examples lie in a model's tensors, and so how many path points one evaluation can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnx_ig.errors import InputError
from onnx_ig.graph.reading import values_of
from onnx_ig.loading.joined_axes import made_up_name

# The symbol of a batch that was fixed (see attribution/free_batch.py).
BATCH = "onnx_ig_batch"

ONE_EXAMPLE = (
    "With batch_axis=None (--batch-axis none) all rows are one example, at one path point per evaluation, and the "
    "target of an output of several axes names its row too: target=(0, 3), --target 0,3"
)
# batch_axis goes with ONNX models alone
ON_AXIS_1 = (
    "examples on axis 1 are taken with batch_axis=1 (--batch-axis 1) of an ONNX model; a PyTorch module transposes its "
    "inputs"
)


@dataclass(frozen=True)
class Layout:
    """Where the examples are.

    Attributes:
        kind: ``batched``: axis 0 is dynamic, so K path points of N examples ride as K·N rows; ``fixed``: axis 0 is a
            fixed number of examples; ``none``: the tensors hold one example and no batch axis. The last is evaluated
            one path point at a time, and so is ``fixed`` unless the graph inside has been freed of the number.
        n: the number of examples where it is fixed.
        symbol: the name of the batch dimension where it has one (also if it was fixed and has been freed).
        apart: no two rows may ride together, though the batch dimension is dynamic: the data decide what is run. F of
            an example is then what the model makes of its row alone, also if it would mix several (Captum evaluates
            all rows together, and one decision serves them all).
        whole: path points do not ride as further rows, and all examples of a call stay together: an additional input
            has rows of its own for them that are not on axis 0, and is taken as it is.
    """

    kind: str
    n: int | None
    symbol: str | None
    apart: bool = False
    whole: bool = False

    @property
    def batched(self) -> bool:
        """Whether several path points fit in one evaluation."""
        return not self.apart and not self.whole and (self.kind == "batched" or self.symbol is not None)


NO_BATCH = Layout("none", 1, None)


def target_axis(layout: Layout) -> int:
    """The axis of several targets in the attributions: behind that of the examples."""
    return 0 if layout.kind == "none" else 1


def layout_of(attributed: list[ir.Value], output: ir.Value, declared_rows: int | None = None) -> Layout:
    """The layout that the declared shapes tell.

    Inputs of one axis and a fixed length are one example: its features, not examples that have none.

    Args:
        declared_rows: how many examples to declare where the batch has been freed.

    Raises:
        InputError: the output's number of axes is unknown, or the attributed inputs disagree on axis 0.
    """
    shape = _known_shape(output)
    sizes = [None if x.shape is None or len(x.shape) == 0 else x.shape[0] for x in attributed]
    rows = shape[0] if len(shape) else None
    fixed = {size for size in sizes if isinstance(size, int)}
    features = all(x.shape is not None and len(x.shape) > 1 for x in attributed)
    if features and len(fixed) == 1 and len(sizes) == sum(isinstance(s, int) for s in sizes) and rows in fixed:
        return Layout("fixed", fixed.pop(), None)
    if not fixed and None not in sizes and rows is not None and not isinstance(rows, int):
        symbols = [s.value for s in sizes if isinstance(s, ir.SymbolicDim)]
        return Layout("batched" if declared_rows is None else "fixed", declared_rows, symbols[0])
    return NO_BATCH


def _known_shape(output: ir.Value) -> ir.Shape:
    if output.shape is None:
        raise InputError(
            f"the number of axes of output {output.name!r} is unknown; declare its shape, or choose another output"
        )
    return output.shape


def declare_rows(graph: ir.Graph, n: int, symbol: str | None) -> None:
    """Write ``n``, and the sizes that went with it, in every declared shape that names the freed batch."""
    for value in values_of(graph):
        if value.shape is not None and not all(isinstance(d, int) for d in value.shape):
            value.shape = ir.Shape([_declared(d, n, symbol) for d in dims_of(value)])


def _declared(dim: int | str | None, n: int, symbol: str | None) -> int | str | None:
    if not isinstance(dim, str):
        return dim
    if dim == symbol:
        return n
    if not dim.startswith(BATCH):
        return dim
    size = dim.removeprefix(f"{BATCH}_")  # of an axis on which the examples lie together with others
    return int(size) if size.isdecimal() else None


def example_shape(output: ir.Value, layout: Layout) -> list[int | None]:
    """The output's dimensions for one example (None where dynamic); empty when it is one number.

    Raises:
        InputError: the output's number of axes is unknown.
    """
    dims = [d if isinstance(d, int) else None for d in _known_shape(output)]
    dims = dims if layout.kind == "none" else dims[1:]
    return [] if all(d == 1 for d in dims) else dims


Dims = Sequence[int | str | None]


def dims_of(x: ir.Value) -> list[int | str | None]:
    """The sizes of the axes, or their names."""
    return [] if x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape]


def with_rows_elsewhere(shapes: Mapping[str, Dims], rows: Collection[str], symbol: str | None) -> list[str]:
    """The inputs, of those not in ``rows``, that may have the examples on another axis than the first.

    An axis named ``symbol`` as the examples does; so may one that the model does not name, where it does not name the
    examples.
    """
    unnamed = any(symbol == made_up_name(name, 0) for name in shapes)
    found = []
    for name, dims in shapes.items():
        if name not in rows and dims and dims[0] != symbol:
            own = any(d == made_up_name(name, i) for i, d in enumerate(dims) if i)
            if symbol in dims or (unnamed and not isinstance(dims[0], str) and own):
                found.append(name)
    return found


def example_axes(shapes: Mapping[str, Dims], rows: Collection[str], symbol: str | None) -> dict[str, int]:
    """The axis of the examples in each input that is known to have one: 0 in ``rows``, else the one of that name."""
    named = {name: list(dims).index(symbol) for name, dims in shapes.items() if symbol is not None and symbol in dims}
    return named | dict.fromkeys(rows, 0)


def require_row_each(attributed: Mapping[str, Sequence[int]], output: ir.Value) -> None:
    """Refuse an output that is known to have another number of rows than the inputs of a PyTorch model.

    Its examples lie on axis 0, whatever the shapes look like; but a vector holds one, and one row is one.

    Args:
        attributed: the shapes of their values.

    Raises:
        InputError: it has.
    """
    rows = dims_of(output)[:1]
    for name, shape in attributed.items():
        if len(shape) > 1 and shape[0] != 1 and rows and isinstance(rows[0], int) and rows[0] != shape[0]:
            raise InputError(
                f"the model mixes examples: its output has shape {output.shape} for {name} {list(shape)}, so axis 0 is "
                f"not a batch of independent examples. {ONE_EXAMPLE}"
            )


def require_examples_first(x: ir.Value, layout: Layout) -> None:
    """Refuse a tensor that is known to hold its examples elsewhere than on axis 0.

    Raises:
        InputError: it does.
    """
    dims = dims_of(x)
    if layout.batched and layout.symbol in dims[1:] and dims[0] not in (None, layout.symbol):
        raise InputError(
            f"tensor {x.name!r} of shape {x.shape} has its examples ({layout.symbol}) on axis "
            f"{dims.index(layout.symbol)}, not on axis 0 as the input: choose a tensor that has them there, or add a "
            "Transpose to the model"
        )
