"""RNN, GRU and LSTM (Elman; Cho et al.; Hochreiter and Schmidhuber, in the standard's order of gates) as Scans.

The one idea: the forward Scan computes each gate once, and with it whatever the adjoint needs that does not depend on
the cotangent, so that the Scan that walks back holds the recurrent product and a few pointwise operators. Below ``f′``
is the slope at the gate, ``·`` pointwise, and h₋, c₋ the states before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import onnx_ir as ir

from onnx_ig.autodiff.registry import Cotangent, Cotangents, VjpRule, lowering
from onnx_ig.autodiff.rules.loops import directions as parts
from onnx_ig.autodiff.rules.loops.activations import Activation
from onnx_ig.autodiff.rules.loops.directions import Direction, Inside, Walked
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_int

_Values = list[ir.Value]


@lowering("RNN")
def rnn(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """h = f(x Wᵀ + h₋ Rᵀ + b):  dz = dh · f′,  dh₋ = dz R,  dR = Σ dzᵀ h₋."""
    return parts.lowered(op, node, ("Tanh",), _rnn)


def _rnn(op: OpBuilder, d: Direction) -> Walked:
    (f,) = d.functions
    from_x = _biased(op, parts.gates(op, d.x, d.w), d.biases)
    inner: dict[str, Any] = {}

    def step(body: OpBuilder, states: _Values, now: _Values, mask: ir.Value | None) -> _Values:
        z = body.Gemm(states[0], d.r, now[0], transB=1)
        h = f.value(body, z)
        inner.update(z=z, h=h, before=states[0], mask=mask)
        return [h]

    walked = parts.walk(op, d, [d.h0], [from_x], step)

    def vjp(op: OpBuilder, node: ir.Node, dh: ir.Value | None, dy: ir.Value | None, *_: ir.Value | None) -> Cotangents:
        inside, at = Inside(op, node), SimpleNamespace(**inner)
        body = inside.op
        slope = inside.keep(parts.times_mask(body, f.slope(body, at.z, at.h), at.mask))

        def back(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            arrived, (k, *off) = parts.arriving(body, dy, states[0], now)
            dz = body.Mul(arrived, k)
            return [parts.carried(body, body.MatMul(dz, d.r), arrived, off)], [dz]

        (dh0,), (dz,) = parts.walk_back(op, d, [dh], dy, [slope, *parts.outside(op, d.mask)], back, 1)
        return {d.h0: dh0, from_x: dz, d.r: lambda: parts.over_steps(op, dz, inside.keep(at.before))}

    return walked.differentiated_by(vjp)


@lowering("GRU")
def gru(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """h = (1 − z) · g + z · h₋ with z, r = f(x Wᵀ + h₋ Rᵀ + b) and g = g(x Wₕᵀ + q + b), where
    q = (r · h₋) Rₕᵀ + bₕ, or r · (h₋ Rₕᵀ + bₕ) with linear_before_reset:

    da = dh · (1 − z) · g′,  dz = dh · (h₋ − g) · f′,  dh₋ = dh · z + what returns through z, r and q.
    """
    walk = _gru_reset_last if attr_int(node, "linear_before_reset", 0) else _gru
    return parts.lowered(op, node, ("Sigmoid", "Tanh"), walk)


def _gru(op: OpBuilder, d: Direction) -> Walked:
    f, g = d.functions
    from_x = _biased(op, parts.gates(op, d.x, d.w), d.biases)
    two = op.Mul(op.dim(d.r, 1), 2)
    r_zr, r_h = op.Slice(d.r, [0], two, [0]), op.Slice(d.r, two, [2**63 - 1], [0])
    inner: dict[str, Any] = {}

    def step(body: OpBuilder, states: _Values, now: _Values, mask: ir.Value | None) -> _Values:
        (before,) = states
        hz, hr = _split(body, body.Gemm(before, r_zr, transB=1), 2, 1)
        xa, az, ar, z, r = _update_and_reset(body, f, now[0], hz, hr)
        reset = body.Mul(r, before)
        a = body.Gemm(reset, r_h, xa, transB=1)
        new = g.value(body, a)
        inner.update(before=before, az=az, ar=ar, z=z, r=r, reset=reset, a=a, new=new, mask=mask)
        return [body.Add(new, body.Mul(z, body.Sub(before, new)))]

    walked = parts.walk(op, d, [d.h0], [from_x], step)

    def vjp(op: OpBuilder, node: ir.Node, dh: ir.Value | None, dy: ir.Value | None, *_: ir.Value | None) -> Cotangents:
        inside, at = Inside(op, node), SimpleNamespace(**inner)
        body = inside.op
        kz = body.Mul(body.Sub(at.before, at.new), f.slope(body, at.az, at.z))
        kr = body.Mul(at.before, f.slope(body, at.ar, at.r))
        ka = body.Mul(body.Sub(1.0, at.z), g.slope(body, at.a, at.new))
        factors = [inside.keep(parts.times_mask(body, k, at.mask)) for k in (kz, ka, kr)]
        # past a step that does not count, the cotangent passes as through z = 1
        r, keep = inside.keep(at.r), inside.keep(parts.hold(body, at.z, at.mask))

        def back(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            arrived, (kz, ka, kr, r, keep) = parts.arriving(body, dy, states[0], now)
            da = body.Mul(arrived, ka)
            dreset = body.MatMul(da, r_h)
            dzr = body.Concat(body.Mul(arrived, kz), body.Mul(dreset, kr), axis=1)
            passed = body.Add(body.Mul(arrived, keep), body.Mul(dreset, r))
            return [body.Add(passed, body.MatMul(dzr, r_zr))], [dzr, da]

        (dh0,), (dzr, da) = parts.walk_back(op, d, [dh], dy, [*factors, r, keep], back, 2)
        return {
            d.h0: dh0,
            from_x: lambda: op.Concat(dzr, da, axis=2),
            r_zr: lambda: parts.over_steps(op, dzr, inside.keep(at.before)),
            r_h: lambda: parts.over_steps(op, da, inside.keep(at.reset)),
        }

    return walked.differentiated_by(vjp)


def _gru_reset_last(op: OpBuilder, d: Direction) -> Walked:
    f, g = d.functions
    from_x = parts.gates(op, d.x, d.w)
    from_x = from_x if d.biases is None else op.Add(from_x, d.biases[0])
    bias = None if d.biases is None else d.biases[1]
    inner: dict[str, Any] = {}

    def step(body: OpBuilder, states: _Values, now: _Values, mask: ir.Value | None) -> _Values:
        (before,) = states
        hz, hr, q = _split(body, body.Gemm(before, d.r, bias, transB=1), 3, 1)
        xa, az, ar, z, r = _update_and_reset(body, f, now[0], hz, hr)
        a = body.Add(xa, body.Mul(r, q))
        new = g.value(body, a)
        inner.update(before=before, az=az, ar=ar, z=z, r=r, q=q, a=a, new=new, mask=mask)
        return [body.Add(new, body.Mul(z, body.Sub(before, new)))]

    walked = parts.walk(op, d, [d.h0], [from_x], step)

    def vjp(op: OpBuilder, node: ir.Node, dh: ir.Value | None, dy: ir.Value | None, *_: ir.Value | None) -> Cotangents:
        inside, at = Inside(op, node), SimpleNamespace(**inner)
        body = inside.op
        kz = body.Mul(body.Sub(at.before, at.new), f.slope(body, at.az, at.z))
        ka = body.Mul(body.Sub(1.0, at.z), g.slope(body, at.a, at.new))
        kr = body.Mul(body.Mul(ka, at.q), f.slope(body, at.ar, at.r))
        k = parts.times_mask(body, body.Concat(kz, kr, body.Mul(ka, at.r), axis=1), at.mask)
        k, keep = inside.keep(k), inside.keep(parts.hold(body, at.z, at.mask))

        def back(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            arrived, (k, keep) = parts.arriving(body, dy, states[0], now)
            dzrq = body.Mul(body.Concat(arrived, arrived, arrived, axis=1), k)
            return [body.Add(body.MatMul(dzrq, d.r), body.Mul(arrived, keep))], [arrived]

        (dh0,), (arrived,) = parts.walk_back(op, d, [dh], dy, [k, keep], back, 1)
        dq = op.Mul(op.Concat(arrived, arrived, arrived, axis=2), k)

        def dx() -> ir.Value:
            dz, dreset, _ = _split(op, dq, 3, 2)
            return op.Concat(dz, dreset, parts.times_mask(op, op.Mul(arrived, inside.keep(ka)), d.mask), axis=2)

        made: dict[ir.Value, Cotangent] = {
            d.h0: dh0,
            from_x: dx,
            d.r: lambda: parts.over_steps(op, dq, inside.keep(at.before)),
        }
        return made if bias is None else {**made, bias: lambda: parts.bias_sum(op, dq)}

    return walked.differentiated_by(vjp)


def _update_and_reset(body: OpBuilder, f: Activation, x: ir.Value, hz: ir.Value, hr: ir.Value) -> _Values:
    """The new state's share of x, the arguments of the update and reset gates, and the two gates."""
    xz, xr, xa = _split(body, x, 3, 1)
    az, ar = body.Add(xz, hz), body.Add(xr, hr)
    return [xa, az, ar, f.value(body, az), f.value(body, ar)]


@lowering("LSTM")
def lstm(op: OpBuilder, node: ir.Node) -> list[ir.Value | None]:
    """c = f · c₋ + i · g,  h = o · h(c)  with the gates of zᵢ, zₒ, z_f, z_g = x Wᵀ + h₋ Rᵀ + b (+ p · c₋ and pₒ · c):

    dzₒ = dh · h(c) · o′,  dc += dh · o · h′(c),  dzᵢ = dc · g · i′,  dz_f = dc · c₋ · f′,  dz_g = dc · i · g′,
    dc₋ = dc · f. A peephole adds its gate's share to dc or dc₋; with input_forget, f = 1 − i.
    """
    walk = partial(_lstm, coupled=attr_int(node, "input_forget", 0) != 0)
    return parts.lowered(op, node, LSTM_ACTIVATIONS, walk)


LSTM_ACTIVATIONS = ("Sigmoid", "Tanh", "Tanh")


def _lstm(op: OpBuilder, d: Direction, coupled: bool) -> Walked:
    from_x = _biased(op, parts.gates(op, d.x, d.w), d.biases)
    walked, at = walked_lstm(op, d, coupled, from_x, lambda body, h, now: body.Gemm(h, d.r, now, transB=1))
    return walked.differentiated_by(_lstm_vjp(d, coupled, from_x, at))


def walked_lstm(
    op: OpBuilder,
    d: Direction,
    coupled: bool,
    from_x: ir.Value,
    gates: Callable[[OpBuilder, ir.Value, ir.Value], ir.Value],
) -> tuple[Walked, SimpleNamespace]:
    """One direction, and the values inside its Scan.

    Args:
        from_x: the input's share of z, with the biases, [T, N, 4·H].
        gates: z of one step from the builder of the Scan's body, h₋ and that step of ``from_x``.
    """
    f, g, last = d.functions
    last = last.unclipped()  # runtimes clip the gates only
    pi, po, pf = (None, None, None) if d.peepholes is None else _split(op, d.peepholes, 3, 0)
    inner: dict[str, Any] = {}

    def step(body: OpBuilder, states: _Values, now: _Values, mask: ir.Value | None) -> _Values:
        h, before = states
        zi, zo, zf, zg = _split(body, gates(body, h, now[0]), 4, 1)
        ai = zi if pi is None else body.Add(zi, body.Mul(before, pi))
        af = zf if pf is None else body.Add(zf, body.Mul(before, pf))
        i, new = f.value(body, ai), g.value(body, zg)
        forget = body.Sub(1.0, i) if coupled else f.value(body, af)
        c = body.Add(body.Mul(forget, before), body.Mul(i, new))
        ao = zo if po is None else body.Add(zo, body.Mul(c, po))
        o, hc = f.value(body, ao), last.value(body, c)
        inner.update(h=h, before=before, ai=ai, af=af, zg=zg, ao=ao, mask=mask)
        inner.update(i=i, new=new, forget=forget, c=c, o=o, hc=hc, peepholes=(pi, po, pf))
        return [body.Mul(o, hc), c]

    return parts.walk(op, d, [d.h0, d.c0], [from_x], step), SimpleNamespace(**inner)


def _lstm_vjp(d: Direction, coupled: bool, from_x: ir.Value, at: SimpleNamespace) -> VjpRule:
    f, g, last = d.functions
    last = last.unclipped()
    pi, po, pf = at.peepholes

    def vjp(
        op: OpBuilder,
        node: ir.Node,
        dh: ir.Value | None,
        dc: ir.Value | None,
        dy: ir.Value | None,
        *_: ir.Value | None,
    ) -> Cotangents:
        inside = Inside(op, node)
        body = inside.op
        ki = body.Mul(body.Sub(at.new, at.before) if coupled else at.new, f.slope(body, at.ai, at.i))
        kf = body.Mul(ki, 0.0) if coupled else body.Mul(at.before, f.slope(body, at.af, at.forget))
        ko = body.Mul(at.hc, f.slope(body, at.ao, at.o))
        kg = body.Mul(at.i, g.slope(body, at.zg, at.new))
        kc = body.Mul(at.o, last.slope(body, at.c, at.hc))
        k = parts.times_mask(body, body.Concat(ki, ko, kf, kg, axis=1), at.mask)
        keep = parts.hold(body, at.forget, at.mask)
        if po is not None:  # the peepholes' shares are products with the same cotangents
            kc = body.Add(kc, body.Mul(ko, po))
            share = body.Add(body.Mul(ki, pi), body.Mul(kf, pf))
            keep = body.Add(keep, parts.times_mask(body, share, at.mask))
        kc = parts.times_mask(body, kc, at.mask)
        sequences = [*map(inside.keep, (k, kc, keep)), *parts.outside(op, d.mask)]

        def back(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            arrived, (k, kc, keep, *off) = parts.arriving(body, dy, states[0], now)
            dc = body.Add(states[1], body.Mul(arrived, kc))
            dz = body.Mul(body.Concat(dc, arrived, dc, dc, axis=1), k)
            return [parts.carried(body, body.MatMul(dz, d.r), arrived, off), body.Mul(dc, keep)], [dz]

        (dh0, dc0), (dz,) = parts.walk_back(op, d, [dh, dc], dy, sequences, back, 1)

        def of_peephole(gate: int, cell: ir.Value) -> ir.Value:
            return parts.bias_sum(op, op.Mul(_split(op, dz, 4, 2)[gate], inside.keep(cell)))

        peepholes = {
            p: partial(of_peephole, gate, cell)
            for gate, (p, cell) in enumerate(((pi, at.before), (po, at.c), (pf, at.before)))
            if p is not None
        }
        return {d.h0: dh0, d.c0: dc0, from_x: dz, d.r: lambda: parts.over_steps(op, dz, inside.keep(at.h)), **peepholes}

    return vjp


def _biased(op: OpBuilder, z: ir.Value, biases: _Values | None) -> ir.Value:
    return z if biases is None else op.Add(z, op.Add(*biases))


def _split(op: OpBuilder, x: ir.Value, count: int, axis: int) -> _Values:
    return list(op.Split(x, axis=axis, num_outputs=count, _outputs=count))
