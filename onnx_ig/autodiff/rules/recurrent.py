"""VJP rules of RNN, GRU and LSTM (Elman; Cho et al.; Hochreiter and Schmidhuber, in the standard's order of gates).

The one idea: everything that does not depend on the cotangent is computed for all steps at once, so that the Scan that
walks back holds the recurrent product and a few pointwise operators; weight gradients are one product over all steps.
Below ``f′`` is the slope at the gate, ``·`` pointwise, and h₋, c₋ the states before the step.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnx_ig.autodiff.builder import OpBuilder
from onnx_ig.autodiff.node import attr_int
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.autodiff.rules import recurrent_parts as parts
from onnx_ig.autodiff.rules.recurrent_parts import Direction
from onnx_ig.autodiff.scan import scan

_Values = list[ir.Value]


@vjp("RNN")
def rnn(op: OpBuilder, node: ir.Node, dy: ir.Value | None, dh: ir.Value | None = None) -> Cotangents:
    """h = f(x Wᵀ + h₋ Rᵀ + b):  dz = dh · f′,  dh₋ = dz R,  dx = dz W,  dW = Σ dzᵀ x,  dR = Σ dzᵀ h₋,  db = Σ dz."""
    return parts.together(op, node, [_rnn(op, d) for d in parts.directions(op, node, ("Tanh",), dy, dh, None)])


def _rnn(op: OpBuilder, d: Direction) -> dict[int, Any]:
    f = d.functions[0]
    z = _biased(op, op.Add(parts.gates(op, d.x, d.w), parts.gates(op, d.h_before, d.r)), d.biases)
    slope = parts.times_mask(op, f.slope(op, z, d.h), d.mask)
    off = parts.outside(op, d.mask)

    def step(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
        dh, now = _arriving(body, d, states[0], now)
        k, *rest = now
        dz = body.Mul(dh, k)
        return [parts.carried(body, body.MatMul(dz, d.r), dh, rest)], [dz]

    (dh0,), (dz,) = _walk(op, d, [d.dh_last], [slope, *off], step, 1)
    return {**_of_weights(op, d, dz, dz, d.h_before), 5: lambda: dh0}


@vjp("GRU")
def gru(op: OpBuilder, node: ir.Node, dy: ir.Value | None, dh: ir.Value | None = None) -> Cotangents:
    """h = (1 − z) · g + z · h₋ with z, r = f(x Wᵀ + h₋ Rᵀ + b) and g = g(x Wₕᵀ + q + b), where
    q = (r · h₋) Rₕᵀ + bₕ, or r · (h₋ Rₕᵀ + bₕ) with linear_before_reset:

    da = dh · (1 − z) · g′,  dz = dh · (h₋ − g) · f′,  dh₋ = dh · z + what returns through z, r and q.
    """
    reset_last = attr_int(node, "linear_before_reset", 0) != 0
    walked = parts.directions(op, node, ("Sigmoid", "Tanh"), dy, dh, None)
    return parts.together(op, node, [_gru(op, d, reset_last) for d in walked])


def _gru(op: OpBuilder, d: Direction, reset_last: bool) -> dict[int, Any]:
    f, g = d.functions
    from_x = _thirds(op, parts.gates(op, d.x, d.w), 2)
    r_zr, r_h = (
        op.Slice(d.r, [0], op.Mul(op.dim(d.r, 1), 2), [0]),
        op.Slice(d.r, op.Mul(op.dim(d.r, 1), 2), [2**63 - 1], [0]),
    )
    w_bias, r_bias = (None, None) if d.biases is None else ([*_thirds(op, b, 0)] for b in d.biases)
    from_h = _thirds(op, parts.gates(op, d.h_before, r_zr), 2, 2)
    pre = [
        _add(op, a, b, *([] if w_bias is None or r_bias is None else [w_bias[i], r_bias[i]]))
        for i, (a, b) in enumerate(zip(from_x, from_h, strict=False))
    ]
    z, r = (f.value(op, p) for p in pre)
    reset = op.Mul(r, d.h_before)
    q = _add(op, parts.gates(op, d.h_before if reset_last else reset, r_h), *([] if r_bias is None else [r_bias[2]]))
    a = _add(op, from_x[2], op.Mul(r, q) if reset_last else q, *([] if w_bias is None else [w_bias[2]]))
    new = g.value(op, a)
    kz = op.Mul(op.Sub(d.h_before, new), f.slope(op, pre[0], z))
    ka = op.Mul(op.Sub(1.0, z), g.slope(op, a, new))
    r_slope = f.slope(op, pre[1], r)
    off = parts.outside(op, d.mask)
    keep = parts.hold(op, z, d.mask, off)  # past a step that does not count, the cotangent passes as through z = 1
    if reset_last:
        kr, kq = op.Mul(op.Mul(ka, q), r_slope), op.Mul(ka, r)
        k = parts.times_mask(op, op.Concat(kz, kr, kq, axis=2), d.mask)

        def step(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            dh, (k_now, keep_now) = _arriving(body, d, states[0], now)
            dzrq = body.Mul(body.Concat(dh, dh, dh, axis=1), k_now)
            return [body.Add(body.MatMul(dzrq, d.r), body.Mul(dh, keep_now))], [dh]

        (dh0,), (dh,) = _walk(op, d, [d.dh_last], [k, keep], step, 1)
        dq_all = op.Mul(op.Concat(dh, dh, dh, axis=2), k)
        da = parts.times_mask(op, op.Mul(dh, ka), d.mask)
        dx_all = op.Concat(_first_two(op, dq_all), da, axis=2)
        return {**_of_weights(op, d, dx_all, dq_all, d.h_before), 5: lambda: dh0}

    kr = parts.times_mask(op, op.Mul(d.h_before, r_slope), d.mask)
    kz, ka = parts.times_mask(op, kz, d.mask), parts.times_mask(op, ka, d.mask)

    def step_back(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
        dh, (kz_now, ka_now, kr_now, r_now, keep_now) = _arriving(body, d, states[0], now)
        da = body.Mul(dh, ka_now)
        dreset = body.MatMul(da, r_h)
        dzr = body.Concat(body.Mul(dh, kz_now), body.Mul(dreset, kr_now), axis=1)
        passed = body.Add(body.Mul(dh, keep_now), body.Mul(dreset, r_now))
        return [body.Add(passed, body.MatMul(dzr, r_zr))], [dzr, da]

    (dh0,), (dzr, da) = _walk(op, d, [d.dh_last], [kz, ka, kr, r, keep], step_back, 2)
    dz_all = op.Concat(dzr, da, axis=2)
    made = _of_weights(op, d, dz_all, dz_all, d.h_before)
    made[2] = lambda: op.Concat(parts.over_steps(op, dzr, d.h_before), parts.over_steps(op, da, reset), axis=0)
    return {**made, 5: lambda: dh0}


@vjp("LSTM")
def lstm(
    op: OpBuilder, node: ir.Node, dy: ir.Value | None, dh: ir.Value | None = None, dc: ir.Value | None = None
) -> Cotangents:
    """c = f · c₋ + i · g,  h = o · h(c)  with the gates of zᵢ, zₒ, z_f, z_g = x Wᵀ + h₋ Rᵀ + b (+ p · c₋ and pₒ · c):

    dzₒ = dh · h(c) · o′,  dc += dh · o · h′(c),  dzᵢ = dc · g · i′,  dz_f = dc · c₋ · f′,  dz_g = dc · i · g′,
    dc₋ = dc · f. A peephole adds its gate's share to dc or dc₋; with input_forget, f = 1 − i.
    """
    coupled = attr_int(node, "input_forget", 0) != 0
    walked = parts.directions(op, node, ("Sigmoid", "Tanh", "Tanh"), dy, dh, dc)
    return parts.together(op, node, [_lstm(op, d, coupled) for d in walked])


def _lstm(op: OpBuilder, d: Direction, coupled: bool) -> dict[int, Any]:
    f, g, last = d.functions
    last = last.unclipped()  # runtimes clip the gates only
    pre = _biased(op, op.Add(parts.gates(op, d.x, d.w), parts.gates(op, d.h_before, d.r)), d.biases)
    zi, zo, zf, zg = op.Split(pre, axis=2, num_outputs=4, _outputs=4)
    pi, po, pf = (None, None, None) if d.peepholes is None else _thirds(op, d.peepholes, 0)
    new = g.value(op, zg)
    off = parts.outside(op, d.mask)

    def opened(build: OpBuilder, zi: ir.Value, zf: ir.Value, before: ir.Value | None) -> tuple[ir.Value, ...]:
        """The arguments and values of the input and forget gates."""
        ai = zi if pi is None else build.Add(zi, build.Mul(before, pi))
        i = f.value(build, ai)
        if coupled:
            return ai, i, ai, build.Sub(1.0, i)
        af = zf if pf is None else build.Add(zf, build.Mul(before, pf))
        return ai, i, af, f.value(build, af)

    if pi is None:
        ai, i, af, forget = opened(op, zi, zf, None)
        keep = parts.hold(op, forget, d.mask, off)
        (_,), (c,) = _walk_on(op, d, [keep, parts.times_mask(op, op.Mul(i, new), d.mask)], _cell)
        c_before = parts.shift(op, c, d.c0, d.backwards)
    else:

        def cell(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
            _, i, _, forget = opened(body, now[0], now[1], states[0])
            after = body.Add(body.Mul(states[0], forget), body.Mul(i, now[2]))
            if d.mask is not None:
                after = body.Add(states[0], body.Mul(now[3], body.Sub(after, states[0])))
            return [after], [after]

        (_,), (c,) = _walk_on(op, d, [zi, zf, new, *([] if d.mask is None else [d.mask])], cell)
        c_before = parts.shift(op, c, d.c0, d.backwards)
        ai, i, af, forget = opened(op, zi, zf, c_before)
        keep = parts.hold(op, forget, d.mask, off)
    ao = zo if po is None else op.Add(zo, op.Mul(c, po))
    o, hc = f.value(op, ao), last.value(op, c)
    ki = op.Mul(op.Sub(new, c_before) if coupled else new, f.slope(op, ai, i))
    kf = op.Mul(ki, 0.0) if coupled else op.Mul(c_before, f.slope(op, af, forget))
    ko, kg = op.Mul(hc, f.slope(op, ao, o)), op.Mul(i, g.slope(op, zg, new))
    kc = op.Mul(o, last.slope(op, c, hc))
    k = parts.times_mask(op, op.Concat(ki, ko, kf, kg, axis=2), d.mask)
    if pi is not None:  # the peepholes' shares are products with the same cotangents
        kc = op.Add(kc, op.Mul(ko, po))
        share = op.Add(op.Mul(ki, pi), op.Mul(kf, pf))
        keep = op.Add(keep, parts.times_mask(op, share, d.mask))
    kc = parts.times_mask(op, kc, d.mask)

    def step(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
        dh, (k_now, kc_now, keep_now, *rest) = _arriving(body, d, states[0], now)
        dc = body.Add(states[1], body.Mul(dh, kc_now))
        dz = body.Mul(body.Concat(dc, dh, dc, dc, axis=1), k_now)
        return [parts.carried(body, body.MatMul(dz, d.r), dh, rest), body.Mul(dc, keep_now)], [dz]

    (dh0, dc0), (dz,) = _walk(op, d, [d.dh_last, d.dc_last], [k, kc, keep, *off], step, 1)

    def dp() -> ir.Value:
        di, do, df, _ = op.Split(dz, axis=2, num_outputs=4, _outputs=4)
        return parts.bias_sum(op, op.Concat(op.Mul(di, c_before), op.Mul(do, c), op.Mul(df, c_before), axis=2))

    return {**_of_weights(op, d, dz, dz, d.h_before), 5: lambda: dh0, 6: lambda: dc0, 7: dp}


def _cell(body: OpBuilder, states: _Values, now: _Values) -> tuple[_Values, _Values]:
    """c = c₋ · f + i · g."""
    after = body.Add(body.Mul(states[0], now[0]), now[1])
    return [after], [after]


def _arriving(body: OpBuilder, d: Direction, carry: ir.Value, now: _Values) -> tuple[ir.Value, _Values]:
    """The cotangent of h at this step (from the step after and from Y), and the remaining sequences."""
    return (carry, now) if d.dh is None else (body.Add(carry, now[0]), now[1:])


def _walk(
    op: OpBuilder, d: Direction, states: _Values, sequences: _Values, step: Any, emitted: int
) -> tuple[_Values, _Values]:
    """Walk from the direction's last step to its first; cotangents of Y come first among the sequences."""
    if d.dh is not None:
        sequences = [parts.times_mask(op, d.dh, d.mask), *sequences]
    back = not d.backwards
    return scan(op, states, sequences, step, backwards=[back] * len(sequences), emit_backwards=[back] * emitted)


def _walk_on(op: OpBuilder, d: Direction, sequences: _Values, step: Any) -> tuple[_Values, _Values]:
    """Walk the cell state from the direction's first step to its last."""
    return scan(op, [d.c0], sequences, step, backwards=[d.backwards] * len(sequences), emit_backwards=[d.backwards])


def _of_weights(op: OpBuilder, d: Direction, dz: ir.Value, dq: ir.Value, h: ir.Value) -> dict[int, Any]:
    """What dz[T, N, G·H] at the gates (dq: as the recurrent product and its bias see it) sends to X, W, R and B."""
    return {
        0: lambda: op.MatMul(dz, d.w),
        1: lambda: parts.over_steps(op, dz, d.x),
        2: lambda: parts.over_steps(op, dq, h),
        3: lambda: op.Concat(parts.bias_sum(op, dz), parts.bias_sum(op, dq), axis=0),
    }


def _biased(op: OpBuilder, z: ir.Value, biases: _Values | None) -> ir.Value:
    return z if biases is None else op.Add(z, op.Add(*biases))


def _add(op: OpBuilder, *terms: ir.Value) -> ir.Value:
    total = terms[0]
    for term in terms[1:]:
        total = op.Add(total, term)
    return total


def _thirds(op: OpBuilder, x: ir.Value, axis: int, count: int = 3) -> _Values:
    return list(op.Split(x, axis=axis, num_outputs=count, _outputs=count))


def _first_two(op: OpBuilder, x: ir.Value) -> ir.Value:
    first, second, _ = _thirds(op, x, 2)
    return op.Concat(first, second, axis=2)
