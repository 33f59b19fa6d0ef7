"""How many rows fit: the size of one row's tensors, and the memory that is free."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.graph.reading import read_by
from onnx_ig.runtime.providers import AnySession

_SHARE_OF_FREE_MEMORY = 0.25
_LOOKED_UP = 10  # times a second: reading it takes as long as a Run of a small model
_TEXT_BYTES = 32  # an element of a tensor of text, whatever its length: C++'s string
_ALIKE = 1.5  # sizes of a row of which one estimate serves both
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def bytes_per_run(model: ir.Model, shapes: Mapping[str, tuple[int, ...]], *, points: int = 0) -> int:
    """An estimate of the bytes one Run holds at once, weights aside, for inputs of ``shapes``.

    The nodes in the graph's order, each tensor of the main graph from the node that makes it to the last that reads it.
    With ``points`` what the bodies of loops hold in a turn counts too, and the first axis of unknown size has that many
    rows: the path points that an attribution model evaluates together for an example.
    """
    model = model.clone()
    for x in model.graph.inputs:
        if str(x.name) in shapes:
            x.shape = ir.Shape(shapes[str(x.name)])
    model = passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model
    return _most_held(model.graph, set(model.graph.initializers.values()), points)


def _most_held(graph: ir.Graph, constants: set[ir.Value], points: int) -> int:
    """The bytes of ``graph`` at the node where they are most; ``constants`` are not counted."""
    nodes = list(graph)
    memory_of: dict[ir.Value, ir.Value] = {}  # the tensor whose memory a view shares
    last_read: dict[ir.Value, int] = {}
    for position, node in enumerate(nodes):
        for x in read_by(node):
            last_read[memory_of.get(x, x)] = position
        if node.op_type in _VIEWS and node.inputs[0] is not None:
            memory_of[node.outputs[0]] = memory_of.get(node.inputs[0], node.inputs[0])
    for y in graph.outputs:
        last_read[memory_of.get(y, y)] = len(nodes)
    held = most = sum(_nbytes(x, points) for x in graph.inputs)
    largest = held
    released: dict[int, int] = {}
    for position, node in enumerate(nodes):
        if all(x is None or x in constants for x in read_by(node)):
            constants.update(node.outputs)  # a transposed weight, say: computed when the session opens
            continue
        for y in node.outputs:
            if y in memory_of or y not in last_read:
                continue
            # an unknown shape is taken to be as large as the largest known one before it
            size = _nbytes(y, points) or (largest if y.shape is None or len(y.shape) else 0)
            largest = max(largest, size)
            held += size
            released[last_read[y]] = released.get(last_read[y], 0) + size
        inside = max((_most_held(body, constants, points) for body in _bodies(node)), default=0) if points else 0
        most = max(most, held + inside)
        held -= released.pop(position, 0)
    return most


def _bodies(node: ir.Node) -> list[ir.Graph]:
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


class BytesPerRow:
    """:func:`bytes_per_run` for one row, asked of the model, which takes long, for few of the shapes that come."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._known: dict[tuple[str, ...], dict[int, int]] = {}  # by what is fed: its elements, and the bytes

    def per_row(self, shapes: Mapping[str, tuple[int, ...]], enough: int = 0) -> int:
        """The bytes for a row of ``shapes``, or an upper bound that is not above ``enough``.

        A row of r times as many elements takes at most r² as much: attention holds every pair of places.
        """
        known, elements = self._known.setdefault(tuple(shapes), {}), max(1, sum(map(math.prod, shapes.values())))
        bounds = {size: math.ceil(held * max(1.0, elements / size) ** 2) for size, held in known.items()}
        if bounds and min(bounds.values()) <= enough:
            return min(bounds.values())
        nearest = min(known, key=lambda size: abs(math.log(elements / size)), default=0)
        if nearest and 1 / _ALIKE <= elements / nearest <= _ALIKE:
            return bounds[nearest]
        known[elements] = bytes_per_run(self._model, shapes)
        return known[elements]


def rows_per_run(
    bytes_per_row: int, session: AnySession, at_most: int | None = None, at_once: int | None = None
) -> int:
    """Rows per Run such that their tensors stay within a share of the free memory and the session's working set.

    More are no faster, so fewer than ``at_most`` may be taken; but on a device with a memory of its own, whose free
    memory is unknown here, exactly as many. ``at_once``: :func:`bytes_at_once`, if it is known.
    """
    if at_most is not None and session.device is not None:
        return at_most
    fit = max(1, (bytes_at_once(session) if at_once is None else at_once) // max(1, bytes_per_row))
    return fit if at_most is None else min(fit, at_most)


def bytes_at_once(session: AnySession) -> int:
    """How much the tensors of a Run may take."""
    if session.device is not None:  # the host's free memory is no bound there
        return session.working_set_bytes
    return min(session.working_set_bytes, int(free_memory() * _SHARE_OF_FREE_MEMORY))


def free_memory() -> int:
    """Bytes of memory a process may still take, looked up ten times a second at most."""
    return _free_memory_at(int(time.monotonic() * _LOOKED_UP))


@functools.lru_cache(maxsize=1)
def _free_memory_at(moment: int) -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 4 << 30


def _nbytes(x: ir.Value, unknown: int = 0) -> int:
    """``unknown``: what the first axis of unknown size is taken for, others for 1; 0: the bytes are unknown then."""
    if x.shape is None or x.dtype is None:
        return 0
    size = _TEXT_BYTES if x.dtype == ir.DataType.STRING else x.dtype.itemsize
    known = [d for d in x.shape if isinstance(d, int)]
    return int(np.prod(known, dtype=np.int64) * size) * (1 if len(known) == len(x.shape) else unknown)
