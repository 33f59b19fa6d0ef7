"""RNN, GRU, LSTM and Scan in float64 with every attribute of the standard,.

The one idea: one step at a time and one row at a time, written from the standard's equations. onnx's reference
evaluator knows neither sequence lengths, clip, activations, input_forget nor directions of a Scan, and ONNX Runtime has
no float64 kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Function = Callable[[np.ndarray], np.ndarray]


def _activation(name: str, a: float | None, b: float | None) -> Function:
    def value(default: float, given: float | None) -> float:
        return default if given is None else given

    table: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "affine": lambda x: value(1.0, a) * x + value(0.0, b),
        "leakyrelu": lambda x: np.where(x >= 0, x, value(0.01, a) * x),
        "thresholdedrelu": lambda x: np.where(x >= value(1.0, a), x, 0.0),
        "scaledtanh": lambda x: value(1.0, a) * np.tanh(value(1.0, b) * x),
        "hardsigmoid": lambda x: np.clip(value(0.2, a) * x + value(0.5, b), 0, 1),
        "elu": lambda x: np.where(x >= 0, x, value(1.0, a) * (np.exp(x) - 1)),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "softplus": lambda x: np.log(1 + np.exp(x)),
    }
    return table[name.lower()]


_TAKES_ALPHA = frozenset({"affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"})
_TAKES_BETA = frozenset({"affine", "scaledtanh", "hardsigmoid"})


class _Recurrent(OpRun):
    """The walk over directions, rows and steps; subclasses give one step."""

    defaults: tuple[str, ...] = ()

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, w: Any, functions: list[Function]
    ) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def walk(
        self,
        x: np.ndarray,
        w: np.ndarray,
        r: np.ndarray,
        b: np.ndarray | None,
        lens: np.ndarray | None,
        h0: np.ndarray | None,
        c0: np.ndarray | None = None,
        p: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layout = getattr(self, "layout", 0)
        if layout:
            x = x.swapaxes(0, 1)
            h0, c0 = (None if v is None else v.swapaxes(0, 1) for v in (h0, c0))
        steps, rows, hidden, directions = x.shape[0], x.shape[1], r.shape[2], w.shape[0]
        b = np.zeros((directions, 2 * w.shape[1])) if b is None else b
        p = np.zeros((directions, 3 * hidden)) if p is None else p
        y = np.zeros((steps, directions, rows, hidden), x.dtype)
        ends = np.zeros((2, directions, rows, hidden), x.dtype)
        for d in range(directions):
            functions = self._functions(d)
            backwards = self.direction == "reverse" or d == 1
            for n in range(rows):
                h = np.zeros(hidden) if h0 is None else h0[d, n]
                c = np.zeros(hidden) if c0 is None else c0[d, n]
                order = range(steps if lens is None else int(lens[n]))
                for t in reversed(order) if backwards else order:
                    h, c = self.step(x[t, n], h, c, (w[d], r[d], b[d], p[d]), functions)
                    y[t, d, n] = h
                ends[:, d, n] = h, c
        if layout:
            return y.transpose(2, 0, 1, 3), ends[0].swapaxes(0, 1), ends[1].swapaxes(0, 1)
        return y, ends[0], ends[1]

    def _functions(self, d: int) -> list[Function]:
        names = list(self.activations or self.defaults)
        if (len(names) == len(self.defaults) and d == 1) or len(names) < (d + 1) * len(self.defaults):
            names = names * 2
        alphas, betas, functions = list(self.activation_alpha or []), list(self.activation_beta or []), []
        for name in names:
            a = alphas.pop(0) if name.lower() in _TAKES_ALPHA and alphas else None
            b = betas.pop(0) if name.lower() in _TAKES_BETA and betas else None
            functions.append(_activation(name, a, b))
        return functions[d * len(self.defaults) : (d + 1) * len(self.defaults)]

    def clipped(self, z: np.ndarray) -> np.ndarray:
        return z if not self.clip else np.clip(z, -self.clip, self.clip)

    def keep(self, attributes: dict[str, Any]) -> None:
        """Make the node's attributes readable from :meth:`step`."""
        for name, value in attributes.items():
            setattr(self, name, value)


class RNN(_Recurrent):
    defaults: tuple[str, ...] = ("Tanh",)

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, w: Any, functions: list[Function]
    ) -> tuple[np.ndarray, np.ndarray]:
        weight, recurrent, bias, _ = w
        wb, rb = np.split(bias, 2)
        return functions[0](self.clipped(weight @ x + recurrent @ h + wb + rb)), c

    def _run(
        self, x: Any, w: Any, r: Any, b: Any = None, lens: Any = None, h0: Any = None, **attributes: Any
    ) -> tuple[Any, ...]:
        self.keep(attributes)
        return self.walk(x, w, r, b, lens, h0)[: len(self.onnx_node.output)]


class GRU(RNN):
    defaults: tuple[str, ...] = ("Sigmoid", "Tanh")

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, w: Any, functions: list[Function]
    ) -> tuple[np.ndarray, np.ndarray]:
        (wz, wr, wh), (rz, rr, rh) = np.split(w[0], 3), np.split(w[1], 3)
        bz, br, bh, cz, cr, ch = np.split(w[2], 6)
        f, g = functions
        z = f(self.clipped(wz @ x + rz @ h + bz + cz))
        r = f(self.clipped(wr @ x + rr @ h + br + cr))
        inner = r * (rh @ h + ch) if self.linear_before_reset else rh @ (r * h) + ch
        candidate = g(self.clipped(wh @ x + inner + bh))
        return (1 - z) * candidate + z * h, c


class LSTM(_Recurrent):
    defaults = ("Sigmoid", "Tanh", "Tanh")

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, w: Any, functions: list[Function]
    ) -> tuple[np.ndarray, np.ndarray]:
        wb, rb = np.split(w[2], 2)
        zi, zo, zf, zc = np.split(w[0] @ x + w[1] @ h + wb + rb, 4)
        pi, po, pf = np.split(w[3], 3)
        f, g, last = functions
        i = f(self.clipped(zi + pi * c))
        forget = 1 - i if self.input_forget else f(self.clipped(zf + pf * c))
        c = forget * c + i * g(self.clipped(zc))
        return f(self.clipped(zo + po * c)) * last(c), c

    def _run(
        self,
        x: Any,
        w: Any,
        r: Any,
        b: Any = None,
        lens: Any = None,
        h0: Any = None,
        c0: Any = None,
        p: Any = None,
        **attributes: Any,
    ) -> tuple[Any, ...]:
        self.keep(attributes)
        return self.walk(x, w, r, b, lens, h0, c0, p)[: len(self.onnx_node.output)]


class Scan(OpRun):
    """Scan with directions and axes."""

    def need_context(self) -> bool:
        """The body may read values of the graphs around it."""
        return True

    def _run(
        self, *values: Any, context: dict[str, Any] | None = None, bindings: Any = None, **attributes: Any
    ) -> tuple[Any, ...]:
        def setting(name: str, i: int) -> int:
            given = attributes.get(name) or []
            return int(given[i]) if i < len(given) else 0

        names, count = self.body.input_names, len(values) - self.num_scan_inputs
        states, sequences = list(values[:count]), []
        for i, value in enumerate(values[count:]):
            steps = np.moveaxis(value, setting("scan_input_axes", i), 0)
            sequences.append(steps[::-1] if setting("scan_input_directions", i) else steps)
        emitted: list[list[np.ndarray]] = [[] for _ in self.body.output_names[count:]]
        for now in zip(*sequences, strict=True):
            outputs = self._run_body(
                {**(context or {}), **dict(zip(names, [*states, *now], strict=True))}, bindings=bindings
            )
            states = outputs[:count]
            for kept, value in zip(emitted, outputs[count:], strict=True):
                kept.append(value)
        for i, kept in enumerate(emitted):
            order = kept[::-1] if setting("scan_output_directions", i) else kept
            states.append(np.stack(order, axis=setting("scan_output_axes", i)))
        return tuple(np.asarray(v) for v in states)


KERNELS: list[Any] = [RNN, GRU, LSTM, Scan]
