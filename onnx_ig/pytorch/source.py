"""Anything that torch can call, as one module of tensors alone.

The one idea: the exporter makes initialisers of the parameters of *registered* submodules, so the modules that a
lambda or bound method reaches are found and registered, and arguments that are no tensors are bound beforehand.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onnx_ig.errors import InputError, ModelError, OnnxIgError, UsageError

_MOST_OBJECTS = 10_000  # a closure may lead to a whole data set


class ForwardModule(nn.Module):
    """``forward(*tensors)``: ``function`` on ``arguments``, their tensors replaced in order; returns one tensor.

    The caller's modules are shared, not copied; neither their mode nor their parameters are touched.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], output: str | int | None) -> None:
        super().__init__()
        self.training = False  # .eval() would reach into the caller's modules
        self._arguments = tuple(None if isinstance(a, Tensor) else a for a in arguments)
        self._is_tensor = tuple(isinstance(a, Tensor) for a in arguments)
        self._output = output
        self._function = (function,)  # in a tuple: not registered here, but below under a name of its own
        for name, module in find_modules(function):
            self.add_module(name, module)

    @property
    def scripted(self) -> torch.jit.ScriptModule | None:
        """The function itself where it is a ScriptModule on tensors that returns one: no trace can call into it."""
        bare = all(self._is_tensor) and self._output in (None, "output", 0, "0")
        return self._function[0] if bare and isinstance(self._function[0], torch.jit.ScriptModule) else None

    def forward(self, *tensors: Tensor) -> Tensor:
        remaining = iter(tensors)
        bound = zip(self._arguments, self._is_tensor, strict=True)
        result = self._function[0](*(next(remaining) if is_tensor else a for a, is_tensor in bound))
        return pick_output(result, self._output)[1]


class Picked(nn.Module):
    """``module``, returning the one tensor that ``output`` means; in the module's own mode."""

    def __init__(self, module: nn.Module, output: str | int | None) -> None:
        super().__init__()
        self.module, self.output = module, output
        self.training = getattr(module, "training", False)

    def forward(self, *arguments: Any) -> Tensor:
        return pick_output(self.module(*arguments), self.output)[1]


def pick_output(result: Any, output: str | int | None) -> tuple[str, Tensor]:
    """Name and value of the tensor that ``output`` names in what a model returns.

    Args:
        output: a key, a field, or a position (a number, also as text); None: the only floating-point tensor. Tensors
            deeper inside (lists of hidden states, caches) are not looked at.

    Raises:
        UsageError: ``output`` is not there or no tensor; None where there is more than one floating-point tensor.
        ModelError: the result holds no tensor.
    """
    if isinstance(result, Tensor):
        if output not in (None, "output", 0, "0"):
            raise UsageError(f"output {output!r}: the model returns a single tensor; leave output out")
        return "output", result
    named = _results(result)
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError("the model returns no tensor")
    listed = ", ".join(
        f"{key} {str(value.dtype).removeprefix('torch.')}{list(value.shape)}" for key, value in tensors.items()
    )
    if output is None:
        floating = [key for key, value in tensors.items() if value.is_floating_point()]
        if len(floating) != 1:
            example = f", such as output={(floating or list(tensors))[0]!r}"
            raise UsageError(f"the model returns {listed}: say which one is explained by output{example}")
        return floating[0], tensors[floating[0]]
    key = str(output)
    if key not in named and re.fullmatch(r"-?\d+", key) and -len(named) <= int(key) < len(named):
        key = list(named)[int(key)]
    if key not in tensors:
        what = (
            f"no output {output!r}"
            if key not in named
            else f"no tensor at {output!r}, but a {type(named[key]).__name__}"
        )
        raise UsageError(f"the model returns {what}: its outputs are {listed}")
    return key, tensors[key]


def _results(result: Any) -> dict[str, Any]:
    """What a model returns, by key, field or position."""
    if isinstance(result, Mapping):
        return {str(key): value for key, value in result.items()}
    if isinstance(result, (tuple, list)):
        fields = getattr(result, "_fields", None) or [f"output_{i}" for i in range(len(result))]
        return dict(zip(fields, result, strict=True))
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    raise ModelError(f"the model returns a {type(result).__name__}: return a tensor, or a tuple or dict of them")


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """Names of the first ``count`` positional parameters; ``input_k`` where ``function`` does not tell."""
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in positional][:count]
    return [*names, *("input" if count == 1 else f"input_{i}" for i in range(len(names), count))]


def find_modules(function: Callable[..., Any]) -> list[tuple[str, nn.Module]]:
    """Name and module for every ``nn.Module`` that calling ``function`` can reach, outermost ones only.

    Looked through: a function's closure, defaults and the globals its code loads, the object of a bound
    method, attributes of plain objects, the parts of a partial, and lists, tuples and dicts in any of these.
    """
    found: dict[int, tuple[str, nn.Module]] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("model", function)]
    while waiting and len(seen) < _MOST_OBJECTS:
        name, value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found[id(value)] = (name.replace(".", "_"), value)
        else:
            waiting.extend(_reached(name, value))
    if len(found) == 1:
        return list(found.values())
    inner = {id(sub) for _, m in found.values() for sub in m.modules() if sub is not m}
    outer = [entry for key, entry in found.items() if key not in inner]
    names = [name for name, _ in outer]
    return [(name if names.count(name) == 1 else f"{name}_{i}", m) for i, (name, m) in enumerate(outer)]


def _reached(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value that is no module leads to."""
    if isinstance(value, functools.partial):
        yield name, value.func
        yield from ((name, argument) for argument in value.args)
        yield from value.keywords.items()
    elif isinstance(value, types.MethodType):
        yield name, value.__self__
        yield name, value.__func__
    elif isinstance(value, types.FunctionType):
        if value.__module__.partition(".")[0] == "torch":  # library code holds no model of the user's
            return
        yield from _cells(value)
        yield from globals_of(value)
        yield from ((name, default) for default in value.__defaults__ or ())
        yield from (value.__kwdefaults__ or {}).items()
        if hasattr(value, "__wrapped__"):
            yield name, value.__wrapped__
    elif isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{name}_{i}", item) for i, item in enumerate(value))
    elif not isinstance(value, (type, types.ModuleType, Tensor)):
        yield from getattr(value, "__dict__", {}).items()
        if isinstance(call := vars(type(value)).get("__call__"), types.FunctionType):
            yield name, call


def _cells(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that is not assigned yet
            continue


def globals_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Globals that the code of ``function``, and of functions written inside it, loads."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
        loaded = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        yield from ((n, function.__globals__[n]) for n in sorted(loaded) if n in function.__globals__)


def call_once(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """``function(*arguments)`` without gradients; what it raises becomes an InputError."""
    try:
        with torch.no_grad():
            return function(*arguments)
    except OnnxIgError:  # of our own watch over the call
        raise
    except Exception as error:  # the user's own code
        shapes = ", ".join(str(tuple(a.shape)) if isinstance(a, Tensor) else repr(a)[:40] for a in arguments)
        first = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"the model itself fails on these arguments ({shapes}): {type(error).__name__}: {first}"
        ) from error
