"""If, Loop and Scan: captured tensors, nesting, run-time trip counts, early exit, directions and axes."""

import numpy as np
import onnx

from tests.judging.judge import Case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(0.5 * _rng.standard_normal(shape), np.float32)


def _text(name: str, text: str, inputs: dict[str, np.ndarray], constants: tuple[str, ...] = ()) -> Case:
    """A case from ONNX's textual form."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>\n' + text)
    return Case(name, model, inputs, constants, 0.0)


def _if(name: str, then: str, other: str, cond: bool) -> Case:
    text = f"""
    m (float[3,4] x, float[4] w, bool c) => (float[3,4] y) {{
        h = Tanh(x)
        z = If (c) <then_branch = t () => (float[3,4] a) {{ {then} }},
            else_branch = e () => (float[3,4] b) {{ {other} }}>
        y = Mul(z, h)
    }}"""
    return _text(f"{name}_{cond}", text, {"x": _f(3, 4), "w": _f(4), "c": np.array(cond)})


_BRANCHES = {
    "if_both": ("s = Sigmoid(h) a = Mul(s, w)", "s = Exp(h) q = Mul(s, h) b = Add(q, x)"),
    "if_one_reads": ("a = Mul(h, w)", "b = Sin(x)"),
    "if_passes_on": ("a = Identity(x)", "b = Mul(x, w)"),
    "if_nested": (
        "s = ReduceSum <keepdims = 0> (w) zero = Constant <value = float {0.0}> () k = Less(s, zero) "
        "a = If (k) <then_branch = tt () => (float[3,4] aa) { aa = Mul(h, w) },"
        " else_branch = ee () => (float[3,4] bb) { q = Tanh(w) bb = Mul(x, q) }>",
        "b = Add(h, w)",
    ),
}

_LOOPS = {
    # state, stacked output, captured weight and captured sequence
    "loop": """
    m (float[2,3] x, float[3,3] w, int64 n) => (float[2,3] y, float[t,2,3] s) {
        cond = Constant <value = bool {1}> ()
        y, s = Loop (n, cond, x) <body = b (int64 i, bool ci, float[2,3] v)
            => (bool co, float[2,3] vo, float[2,3] so) {
            co = Identity(ci)
            h = MatMul(v, w)
            vo = Tanh(h)
            so = Mul(vo, v)
        }>
    }""",
    # states that a step only writes, starting in the same shape as what is written, and in another
    "loop_writes_a_state": """
    m (float[2,3] x, float[3,3] w, int64 n) => (float[2,3] y, float[2,3] s, float[2,3] t) {
        cond = Constant <value = bool {1}> ()
        z = Constant <value = float {0.0}> ()
        a = Sin(x)
        y, s, t = Loop (n, cond, x, a, z) <body = b (int64 i, bool ci, float[2,3] v, float[2,3] p, float[] q)
            => (bool co, float[2,3] vo, float[2,3] po, float[2,3] qo) {
            co = Identity(ci)
            h = MatMul(v, w)
            vo = Tanh(h)
            po = Sin(vo)
            qo = Mul(po, v)
        }>
    }""",
    "loop_shapeless_body": """
    m (float[2,3] x, float[3,3] w, int64 n) => (float[2,3] y, float[t,2,3] s) {
        cond = Constant <value = bool {1}> ()
        y, s = Loop (n, cond, x) <body = b (int64 i, bool ci, float[] v)
            => (bool co, float[] vo, float[] so) {
            co = Identity(ci)
            h = MatMul(v, w)
            vo = Tanh(h)
            so = Identity(vo)
        }>
    }""",
    "loop_early_exit": """
    m (float[4] x, float[4] w, int64 n) => (float[4] y) {
        cond = Constant <value = bool {1}> ()
        y, u = Loop (n, cond, x, w) <body = b (int64 i, bool ci, float[4] v, float[4] u)
            => (bool co, float[4] vo, float[4] uo) {
            two = Constant <value = int64 {2}> ()
            co = Less(i, two)
            p = Mul(u, v)
            vo = Sin(p)
            uo = Add(u, v)
        }>
    }""",
    "loop_reads_sequence": """
    m (float[5,3] x, float[3] w, int64 n) => (float[3] y) {
        cond = Constant <value = bool {1}> ()
        y = Loop (n, cond, w) <body = b (int64 i, bool ci, float[3] v)
            => (bool co, float[3] vo) {
            co = Identity(ci)
            r = Gather <axis = 0> (x, i)
            p = Mul(r, v)
            e = Exp(w)
            q = Tanh(p)
            vo = Add(q, e)
        }>
    }""",
    "loop_only_captured": """
    m (float[3] x, int64 n) => (float[t,3] s) {
        cond = Constant <value = bool {1}> ()
        s = Loop (n, cond) <body = b (int64 i, bool ci)
            => (bool co, float[3] so) {
            co = Identity(ci)
            one = Constant <value = int64 {1}> ()
            k = Add(i, one)
            f = CastLike(k, x)
            p = Mul(x, f)
            so = Sin(p)
        }>
    }""",
    "loop_swaps_states": """
    m (float[3] x, float[3] w, int64 n) => (float[3] y, float[3] z) {
        cond = Constant <value = bool {1}> ()
        y, z = Loop (n, cond, x, w) <body = b (int64 i, bool ci, float[3] v, float[3] u)
            => (bool co, float[3] uo, float[3] vo) {
            co = Identity(ci)
            uo = Identity(u)
            vo = Sin(v)
        }>
    }""",
    "loop_varying_slice": """
    m (float[6] x, float[6] w, int64 n) => (float[6] y) {
        cond = Constant <value = bool {1}> ()
        y = Loop (n, cond, x) <body = b (int64 i, bool ci, float[6] v)
            => (bool co, float[6] vo) {
            co = Identity(ci)
            one = Constant <value = int64[1] {1}> ()
            zero = Constant <value = int64[1] {0}> ()
            k = Add(i, one)
            part = Slice(v, zero, k)
            sq = Mul(part, part)
            total = ReduceSum <keepdims = 0> (sq)
            p = Mul(v, total)
            q = Add(p, w)
            vo = Tanh(q)
        }>
    }""",
    "loop_nested": """
    m (float[3] x, float[3] w, int64 n) => (float[3] y) {
        cond = Constant <value = bool {1}> ()
        y = Loop (n, cond, x) <body = b (int64 i, bool ci, float[3] v)
            => (bool co, float[3] vo) {
            co = Identity(ci)
            e = Tanh(v)
            inner = Loop (n, ci, e) <body = bb (int64 j, bool cj, float[3] u) => (bool cjo, float[3] uo) {
                cjo = Identity(cj)
                p = Mul(u, w)
                q = Mul(p, e)
                uo = Sin(q)
            }>
            vo = Add(inner, v)
        }>
    }""",
    "loop_with_if": """
    m (float[3] x, float[3] w, int64 n) => (float[3] y) {
        cond = Constant <value = bool {1}> ()
        y = Loop (n, cond, x) <body = b (int64 i, bool ci, float[3] v)
            => (bool co, float[3] vo) {
            co = Identity(ci)
            one = Constant <value = int64 {1}> ()
            k = Equal(i, one)
            e = Tanh(v)
            vo = If (k) <then_branch = t () => (float[3] a) { p = Mul(e, w) a = Mul(p, v) },
                         else_branch = f () => (float[3] c) { c = Sin(v) }>
        }>
    }""",
}

_SCANS = {
    "scan": """
    m (float[2,3] h0, float[5,2,3] x, float[3,3] w) => (float[2,3] h, float[5,2,3] ys) {
        h, ys = Scan (h0, x) <num_scan_inputs = 1,
            body = b (float[2,3] v, float[2,3] e) => (float[2,3] vo, float[2,3] yo) {
            p = MatMul(v, w)
            q = Add(p, e)
            vo = Tanh(q)
            yo = Mul(vo, e)
        }>
    }""",
    "scan_directions_and_axes": """
    m (float[2] h0, float[2,5] x, float[5,2] z) => (float[2] h, float[2,5] ys, float[5,2] zs) {
        h, ys, zs = Scan (h0, x, z) <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [0, 1],
            scan_output_axes = [1, 0], scan_output_directions = [1, 0],
            body = b (float[2] v, float[2] e, float[2] f) => (float[2] vo, float[2] yo, float[2] zo) {
            p = Mul(v, e)
            q = Add(p, f)
            vo = Sin(q)
            yo = Mul(vo, f)
            zo = Tanh(p)
        }>
    }""",
    "scan_stateless": """
    m (float[4,3] x, float[3] w) => (float[4,3] ys) {
        ys = Scan (x) <num_scan_inputs = 1,
            body = b (float[3] e) => (float[3] yo) {
            u = Exp(w)
            p = Mul(e, u)
            yo = Sin(p)
        }>
    }""",
    "scan_state_is_output": """
    m (float[3] h0, float[4,3] x) => (float[3] h, float[4,3] ys) {
        h, ys = Scan (h0, x) <num_scan_inputs = 1,
            body = b (float[3] v, float[3] e) => (float[3] vo, float[3] yo) {
            vo = Mul(v, e)
            yo = Identity(vo)
        }>
    }""",
    "scan_nested": """
    m (float[3] h0, float[4,2,3] x, float[3] w) => (float[3] h) {
        h = Scan (h0, x) <num_scan_inputs = 1,
            body = b (float[3] v, float[2,3] e) => (float[3] vo) {
            t = Tanh(v)
            r = Scan (t, e) <num_scan_inputs = 1, body = bb (float[3] a, float[3] g) => (float[3] ao) {
                p = Mul(a, g)
                q = Mul(p, w)
                ao = Add(q, t)
            }>
            vo = Sin(r)
        }>
    }""",
    "scan_function_inside": """
    m (float[3] h0, float[4,3] x) => (float[3] h) {
        h = Scan (h0, x) <num_scan_inputs = 1,
            body = b (float[3] v, float[3] e) => (float[3] vo) {
            p = Mul(v, e)
            vo = Softplus(p)
        }>
    }""",
}


def _inputs(text: str, steps: int) -> dict[str, np.ndarray]:
    graph = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>\n' + text).graph
    return {
        i.name: np.array(steps, np.int64)
        if i.type.tensor_type.elem_type == onnx.TensorProto.INT64
        else _f(*(d.dim_value for d in i.type.tensor_type.shape.dim))
        for i in graph.input
    }


CASES = (
    [_if(name, *parts, cond=cond) for name, parts in _BRANCHES.items() for cond in (True, False)]
    + [_text(f"{name}_{n}", text, _inputs(text, n)) for name, text in _LOOPS.items() for n in (1, 4)]
    + [_text(f"{name}_fixed", text, _inputs(text, 3), ("n",)) for name, text in _LOOPS.items()]
    + [_text("loop_no_step", _LOOPS["loop"], _inputs(_LOOPS["loop"], 0))]
    + [_text(name, text, _inputs(text, 0)) for name, text in _SCANS.items()]
)
