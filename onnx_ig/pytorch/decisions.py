"""What a torch function reads of its arguments into Python, where it may decide: a trace freezes that.

The one idea: the function runs once and is watched. Every tensor computed from an argument carries that argument's
number along (by its storage, so views and writes in place count), and a read is a value that leaves the tensors:
``bool(t)``, ``t.item()``, ``t.tolist()``, an index, ``torch.equal``. Reads of shapes and constants carry no number.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from onnx_ig.pytorch import watching
from onnx_ig.pytorch.watching import Watching

_NONE: frozenset[int] = frozenset()
_OWN_CODE = (str(Path(torch.__file__).parent), __file__, watching.__file__)
# each returns a Python number
_TO_A_NUMBER = ("_local_scalar_dense", "equal", "allclose", "is_nonzero")
# each takes values out without the dispatcher, which knows operators alone
_WITHOUT_DISPATCH = {
    *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.apply_, Tensor.map_),
    *(torch.tensor, torch.as_tensor, torch.asarray),
}
# each takes the shape of what it is given and none of its values
_SHAPE_ALONE = (
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "_shape_as_tensor"),
)


@dataclass(frozen=True)
class Read:
    """A value that Python code took from tensors.

    Attributes:
        value: the number, or a digest of several.
        place: file and line of the code that read it, outside torch: ``/home/me/net.py:12``.
        arguments: the numbers of the arguments whose data it depends on; empty for shapes and constants.
    """

    value: bool | int | float | complex | str
    place: str
    arguments: frozenset[int]
    in_graph: bool = False  # torch.cond or torch.while_loop decided by it, which an exported graph can follow


@contextlib.contextmanager
def recorded(arguments: Sequence[Tensor]) -> Iterator[list[Read]]:
    """The reads of the code inside the ``with``, in order, as dependent on ``arguments`` (by position in them)."""
    origins = _Origins(arguments)
    found: list[Read] = []
    with _OutsideDispatch(origins, found), _InDispatch(origins, found):
        yield found


def first_difference(found: Sequence[Read], others: Sequence[Read]) -> Read | None:
    """The first of ``found`` that is not also in ``others`` at its position; None if both decided alike.

    Reads of shapes and constants are left out: for arguments of the same shapes they are the same.
    """
    wanted = [read for read in others if read.arguments]
    given = [read for read in found if read.arguments]
    for i, read in enumerate(given):
        if i >= len(wanted) or (read.place, read.value) != (wanted[i].place, wanted[i].value):
            return read
    return wanted[len(given)] if len(wanted) > len(given) else None


class _Origins:
    """Which arguments' data each storage depends on."""

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        # a weak reference keeps the number that names a storage from being given to another one
        self._known: dict[int, tuple[StorageWeakRef, frozenset[int]]] = {}
        for i, argument in enumerate(arguments):
            self.add(argument, frozenset({i}))

    def of(self, values: Any) -> frozenset[int]:
        found = _NONE
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and (storage := _storage(value)) is not None:
                found |= self._known.get(storage._cdata, (None, _NONE))[1]
        return found

    def add(self, values: Any, origin: frozenset[int]) -> None:
        for value in tree_leaves(values):
            if origin and isinstance(value, Tensor) and (storage := _storage(value)) is not None:
                before = self._known.get(storage._cdata, (None, _NONE))[1]
                self._known[storage._cdata] = (StorageWeakRef(storage), before | origin)


class _InDispatch(Watching):
    """Follows operators, and notes those that return a Python number, and what is decided on tensors."""

    def __init__(self, origins: _Origins, found: list[Read]) -> None:
        super().__init__()
        self._origins, self._found = origins, found

    def decided(self, condition: Tensor) -> bool:
        held = super().decided(condition)
        self._found.append(Read(held, _place(), self._origins.of(condition), in_graph=True))
        return held

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if name in _TO_A_NUMBER:
            self._found.append(Read(result, _place(), self._origins.of((args, kwargs))))
        elif name not in _SHAPE_ALONE:
            origin = self._origins.of((args, kwargs))
            self._origins.add(result, origin)
            if function._schema.is_mutable:
                written = zip(function._schema.arguments, args, strict=False)
                self._origins.add([a for argument, a in written if argument.is_write], origin)
                self._origins.add([a for key, a in kwargs.items() if key == "out"], origin)
        return result


class _OutsideDispatch(TorchFunctionMode):
    """Notes the calls of torch's that take values out of tensors without an operator."""

    def __init__(self, origins: _Origins, found: list[Read]) -> None:
        super().__init__()
        self._origins, self._found = origins, found

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _WITHOUT_DISPATCH and not (args and function is torch.as_tensor and _is_tensor(args[0])):
            tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            if tensors:
                self._found.append(Read(_digest(tensors), _place(), self._origins.of(tensors)))
        return function(*args, **kwargs)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other layouts have none of their own
        return None


def _digest(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    # the modes are off while one of them is being answered, so this is not recorded in turn
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _place() -> str:
    """File and line of the innermost code on the stack that is neither torch's nor this file's."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN_CODE):
        following = frame.f_back
        if following is None:
            break
        frame = following
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
