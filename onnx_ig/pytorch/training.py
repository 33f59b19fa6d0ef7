"""Does training mode change what a torch model computes? Judged by running it, not by its flag.

The one idea: a dispatch mode stands between the model and torch's operators, and stops the first one that would draw
random numbers or overwrite a module's statistics; a model that asks for the flag itself is compared with a copy in eval
mode. Nothing of the caller's is changed, not even for a moment: other threads may be using it.
"""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onnx_ig.errors import ModelError, OnnxIgError
from onnx_ig.pytorch.quiet import exporting
from onnx_ig.pytorch.source import call_once, find_modules, globals_of, pick_output
from onnx_ig.pytorch.watching import Watching

_ALMOST_ONE = 1 - 2.0**-24
_SAME = 1e-4  # of the largest output: other kernels run in eval mode


def call_judged(function: Callable[..., Any], arguments: Sequence[Any], output: str | int | None) -> Any:
    """``function(*arguments)`` without gradients.

    Raises:
        ModelError: ``output`` is random; or a module that ``function`` reaches is in training mode, and that changes
            ``output`` or the module.
        InputError: the model itself fails.
    """
    training = _in_training(function)
    with _Watch(training, 0.0) as watch:
        result = call_once(function, arguments)
    if watch.drawn:
        with _Watch(training, _ALMOST_ONE):
            again = call_once(function, arguments)
        if not _same(result, again, output):
            if training:
                raise _refusal(training[0], f"it {_draws_numbers(watch.drawn)}")
            raise ModelError(
                f"the model {_draws_numbers(watch.drawn)} though in eval mode, so attributions would be random: "
                "give functional dropout training=self.training, and leave noise out of forward"
            )
    asking = next((entry for entry in training if _asks_for_mode(type(entry[1]))), None)
    if asking and not _same(result, _in_eval_mode(function, arguments, asking), output):
        raise _refusal(asking, "what it computes depends on that")
    return result


class _Watch(Watching):
    """Notes the operator that draws random numbers; with modules in training mode, stops what that mode does.

    Uniform numbers are all ``draw`` then: code like ``if torch.rand(()) < self.layer_drop`` draws without any effect.
    """

    def __init__(self, training: Sequence[tuple[str, nn.Module]], draw: float) -> None:
        super().__init__()
        self._training, self._draw, self.drawn = training, draw, ""
        self._statistics = {b.untyped_storage()._cdata for _, module in training for b in module.buffers(recurse=False)}

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        declared = function._schema.arguments
        given = {a.name: a.default_value for a in declared if a.has_default_value()}
        given |= dict(zip((a.name for a in declared), args, strict=False)) | kwargs
        if self._training and any(self._writes_statistics(a, given.get(a.name)) for a in declared):
            raise self._stopped("it updates its own statistics")
        if self._training and given.get("training") and given.get("running_mean") is not None:
            raise self._stopped("it normalises by the statistics of the batch")
        if not _draws(function, given):
            return function(*args, **kwargs)
        self.drawn = str(function.overloadpacket)
        uniform = function.overloadpacket in (torch.ops.aten.rand, torch.ops.aten.rand_like)
        if self._training and not uniform:
            raise self._stopped(f"it {_draws_numbers(self.drawn)}")
        result = function(*args, **kwargs)
        return result.fill_(self._draw) if uniform else result

    def _writes_statistics(self, argument: Any, value: Any) -> bool:
        written = argument.alias_info is not None and argument.alias_info.is_write
        return written and isinstance(value, Tensor) and value.untyped_storage()._cdata in self._statistics

    def _stopped(self, effect: str) -> ModelError:
        """The refusal, naming the innermost module at work."""
        named = {id(module): (name, module) for name, module in self._training}
        frame: types.FrameType | None = sys._getframe()
        while frame is not None:
            if (entry := named.get(id(frame.f_locals.get("self")))) is not None:
                return _refusal(entry, effect)
            frame = frame.f_back
        return _refusal(self._training[0], effect)


def _draws(function: Any, given: Mapping[str, Any]) -> bool:
    """Whether the operator's result is random: not with a probability of 0 or 1, nor if told that it is not trained."""
    if torch.Tag.nondeterministic_seeded not in function.tags:
        return False
    asked = given.get("train", given.get("training", True))
    certain = [given[name] for name in ("p", "dropout", "dropout_p") if isinstance(given.get(name), (int, float))]
    return asked is not False and not any(p in (0, 1) for p in certain)


def _draws_numbers(operator: str) -> str:
    return f"draws random numbers ({operator})"


def _in_training(function: Callable[..., Any]) -> list[tuple[str, nn.Module]]:
    """Path and module of every module in training mode that ``function`` reaches. Frozen ScriptModules have no mode."""
    return [
        (".".join(part for part in (name, inner) if part), submodule)
        for name, module in find_modules(function)
        for inner, submodule in module.named_modules()
        if getattr(submodule, "training", False)
    ]


def _asks_for_mode(kind: type[nn.Module]) -> bool:
    """Whether a method of the user's class reads ``.training``; what torch's own layers do with it is watched."""
    return any(
        "training" in code.co_names
        for base in kind.__mro__
        if base.__module__.partition(".")[0] != "torch"
        for method in vars(base).values()
        if isinstance(method, types.FunctionType)
        for code in _codes(method.__code__)
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _in_eval_mode(function: Callable[..., Any], arguments: Sequence[Any], asking: tuple[str, nn.Module]) -> Any:
    """What a copy of ``function`` in eval mode, with the same parameters and buffers, returns."""
    try:
        shared = [t for _, m in find_modules(function) for t in (*m.parameters(), *m.buffers())]
        copied = _copied(function, {id(tensor): tensor for tensor in shared})
    except Exception as error:  # what copying the user's objects raises
        raise _refusal(asking, f"it asks for its mode, and cannot be copied to compare ({error})") from error
    for _, module in _in_training(copied):
        module.training = False
    try:
        with exporting():  # without fused attention, which is another function where a mask hides something
            return call_once(copied, arguments)
    except OnnxIgError:
        return None


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy of what leads to modules, through functions' closures and globals too; others are shared."""
    if id(value) in memo:
        return memo[id(value)]
    if not isinstance(value, types.FunctionType):
        return copy.deepcopy(value, memo)
    closure = tuple(types.CellType(_copied_if_needed(cell.cell_contents, memo)) for cell in value.__closure__ or ())
    reached = {name: _copied_if_needed(item, memo) for name, item in globals_of(value)}
    made = types.FunctionType(
        value.__code__, {**value.__globals__, **reached}, value.__name__, value.__defaults__, closure or None
    )
    made.__kwdefaults__ = value.__kwdefaults__
    return memo.setdefault(id(value), made)


def _copied_if_needed(value: Any, memo: dict[int, Any]) -> Any:
    return _copied(value, memo) if find_modules(value) else value


def _same(result: Any, other: Any, output: str | int | None) -> bool:
    """Whether both hold the same values at ``output``."""
    name, wanted = pick_output(result, output)
    try:
        other_name, got = pick_output(other, output)
    except OnnxIgError:
        return False
    if name != other_name or wanted.shape != got.shape:
        return False
    wanted, got = wanted.double(), got.double()
    return bool(torch.allclose(wanted, got, rtol=0, atol=_SAME * float(wanted.abs().max()), equal_nan=True))


def _refusal(entry: tuple[str, nn.Module], effect: str) -> ModelError:
    path, module = entry
    return ModelError(
        f"the model is in training mode ({path}, a {type(module).__name__}), and {effect}: attributions would "
        "be random, or of another function than the deployed one; call .eval() on it first"
    )
