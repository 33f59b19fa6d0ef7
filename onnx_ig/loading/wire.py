"""Read and write protocol buffers field by field, so that a model's weights need not be in memory as part of a message.

The one idea: a message is the concatenation of its fields, and a field is its number and kind, its length and its
bytes, which may be a message again (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import onnx

GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_LONGEST_VARINT = 10

Buffer: TypeAlias = bytes | mmap.mmap


class Kind(IntEnum):
    """How a field's end is found."""

    VARINT = 0
    EIGHT_BYTES = 1
    DELIMITED = 2  # by its length: a message, bytes or text
    FOUR_BYTES = 5


@dataclass(frozen=True)
class Field:
    """Where a field lies in a buffer: from its number at ``start``, its bytes from ``body`` on, up to ``stop``."""

    number: int
    kind: int
    start: int
    body: int
    stop: int

    def holds(self, number: int) -> bool:
        """Whether it is the message, bytes or text of this number."""
        return self.number == number and self.kind == Kind.DELIMITED


@dataclass(frozen=True)
class Span:
    """The bytes of a weight in a file."""

    offset: int
    size: int


def head(number: int, size: int) -> bytes:
    """What stands before a field's bytes: its number and its length."""
    varints = []
    for value in ((number << 3) | Kind.DELIMITED, size):
        while value > 0x7F:
            varints.append(value & 0x7F | 0x80)
            value >>= 7
        varints.append(value)
    return bytes(varints)


def fields(data: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message in ``data[start:stop]``.

    Raises:
        ValueError: no message lies there, or it is cut short.
    """
    while start < stop:
        tag, body = _varint(data, start, stop)
        match tag & 7:
            case Kind.VARINT:
                _, end = _varint(data, body, stop)
            case Kind.EIGHT_BYTES:
                end = body + 8
            case Kind.DELIMITED:
                size, body = _varint(data, body, stop)
                end = body + size
            case Kind.FOUR_BYTES:
                end = body + 4
            case kind:
                raise ValueError(f"a field of kind {kind} at byte {start}")
        if end > stop:
            raise ValueError(f"the field at byte {start} ends {end - stop} bytes too late")
        yield Field(tag >> 3, tag & 7, start, body, end)
        start = end


def without_weights(data: Buffer, least: int) -> tuple[bytes, dict[int, Span]]:
    """A serialised model without the contents of its main graph's weights of ``least`` bytes and more.

    And where these lie in ``data``, by the weight's place among the graph's initialisers.

    Raises:
        ValueError: ``data`` holds no message, or one that is cut short.
    """
    model: list[bytes] = []
    spans: dict[int, Span] = {}
    place = 0
    for field in fields(data, 0, len(data)):
        if not field.holds(GRAPH):
            model.append(data[field.start : field.stop])
            continue
        graph: list[bytes] = []
        for part in fields(data, field.body, field.stop):
            content = None
            if part.holds(INITIALIZER):
                content = _content(data, part) if part.stop - part.body >= least else None
                place += 1
            if content is None or content.stop - content.body < least:
                graph.append(data[part.start : part.stop])
                continue
            spans[place - 1] = Span(content.body, content.stop - content.body)
            graph.append(head(INITIALIZER, part.stop - part.body - (content.stop - content.start)))
            graph += [data[part.body : content.start], data[content.stop : part.stop]]
        model += [head(GRAPH, sum(map(len, graph))), *graph]
    return b"".join(model), spans


def _content(data: Buffer, tensor: Field) -> Field | None:
    """The one field of a tensor that holds its numbers as bytes; None if there is none, or several."""
    found = [field for field in fields(data, tensor.body, tensor.stop) if field.holds(RAW_DATA)]
    return found[0] if len(found) == 1 else None


def _varint(data: Buffer, start: int, stop: int) -> tuple[int, int]:
    """The number in base 128 at ``start``, lowest digit first, and where it ends."""
    value = 0
    for i, position in enumerate(range(start, min(start + _LONGEST_VARINT, stop))):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + 1
    raise ValueError(f"the number at byte {start} does not end")
