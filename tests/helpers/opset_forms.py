"""The operators whose form changed between opsets 7 and 26, in every form: the table of tests/loading/test_opset.py."""

from typing import NamedTuple


class Form(NamedTuple):
    """A model in ONNX's text form, written for ``opset``."""

    opset: int
    text: str
    ir_version: int = 8


def _f(nodes: str, x: str = "float[2,3,4]", y: str = "float[]", weights: str = "") -> str:
    """One float input x and one output y, whose shape is left open unless given."""
    return f"f ({x} x) => ({y} y) {f'<{weights}>' if weights else ''} {{ {nodes} }}"


_IMAGE = "float[N,2,4,6]"
_BATCH_NORM = "float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0, 1}, float[2] v = {1, 4}"
_PER_ELEMENT = "float[2,2] s = {1,2,3,4}, float[2,2] b = {1,2,3,4}, float[2,2] m = {0,1,2,3}, float[2,2] v = {1,2,3,4}"
_REDUCED = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_ANY4, _ANY3, _ANY2 = "float[a,b,c,d]", "float[a,b,c]", "float[a,b]"

FORMS: dict[str, Form] = {
    **{
        f"{op}-{opset}-axis{axis}": Form(opset, _f(f"y = {op} <axis = {axis}> (x)", y=_ANY3))
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (7, 11, 12)
        for axis in (0, 1, 2)
    },
    "Softmax-12-negative": Form(12, _f("y = Softmax <axis = -2> (x)", y=_ANY3)),
    "Softmax-12-default": Form(12, _f("y = Softmax (x)", y=_ANY3)),
    "Softmax-12-ones-after": Form(12, _f("y = Softmax (x)", "float[2,5,1,1]", _ANY4)),
    "Softmax-12-dynamic": Form(12, _f("y = Softmax (x)", "float[N,T,3]", _ANY3)),
    "Softmax-13": Form(13, _f("y = Softmax (x)", y=_ANY3)),
    "Softmax-inner-output": Form(
        9, "f (float[2,3,4] x) => (float[a,b,c] y, float[a,b,c] z) { y = Softmax(x) z = Sin(y) }"
    ),
    **{
        f"Reduce{kind}-{opset}": Form(
            opset,
            _f(
                f"p = Abs (x) y = Reduce{kind} <axes = [0, 2], keepdims = {opset % 2}> (p)",
                y=_ANY3 if opset % 2 else "float[a]",
            ),
        )
        for kind in _REDUCED
        for opset in (7, 11, 12)
    },
    "ReduceLogSum-17": Form(17, _f("p = Exp (x) y = ReduceLogSum <axes = [-1]> (p)", y=_ANY3)),
    "ReduceMax-17": Form(17, _f("y = ReduceMax <axes = [1]> (x)", y=_ANY3)),
    "ReduceMean-all": Form(13, _f("y = ReduceMean <keepdims = 0> (x)", y="float")),
    "Clip-7": Form(7, _f("y = Clip <min = -0.5, max = 0.5> (x)", y=_ANY3)),
    "Clip-7-min": Form(7, _f("y = Clip <min = 0.0> (x)", y=_ANY3)),
    "Clip-7-max": Form(10, _f("y = Clip <max = 0.1> (x)", y=_ANY3)),
    "Clip-7-none": Form(7, _f("y = Clip (x)", y=_ANY3)),
    "Clip-7-half": Form(7, "f (float16[2,3] x) => (float16[2,3] y) { y = Clip <min = -0.5, max = 0.5> (x) }"),
    "Clip-11": Form(11, _f("y = Clip (x, lo, hi)", y=_ANY3, weights="float lo = {-0.5}, float hi = {0.5}")),
    "Pad-7": Form(7, _f("y = Pad <pads = [0,1,0,2,0,1], value = 1.5> (x)", y=_ANY3)),
    "Pad-7-reflect": Form(10, _f('y = Pad <mode = "reflect", pads = [0,1,2,0,0,1]> (x)', y=_ANY3)),
    "Pad-7-edge-negative": Form(7, _f('y = Pad <mode = "edge", pads = [0,1,-1,0,0,1]> (x)', y=_ANY3)),
    "Pad-11": Form(11, _f("y = Pad (x, p, v)", y=_ANY3, weights="int64[6] p = {0,1,0,2,0,1}, float v = {2}")),
    "Slice-7": Form(7, _f("y = Slice <starts = [1, -3], ends = [2, -1], axes = [0, 2]> (x)", y=_ANY3)),
    "Slice-7-no-axes": Form(9, _f("y = Slice <starts = [0, 1], ends = [100, 3]> (x)", y=_ANY3)),
    "Slice-10": Form(
        10,
        _f(
            "y = Slice (x, s, e, a, t)",
            y=_ANY3,
            weights="int64[1] s = {3}, int64[1] e = {0}, int64[1] a = {2}, int64[1] t = {-2}",
        ),
    ),
    "Split-7": Form(
        7, _f("p, q = Split <axis = 2, split = [1, 3]> (x) r = ReduceSum <axes = [2]> (q) y = Add (p, r)", y=_ANY3)
    ),
    "Split-7-equal": Form(7, _f("p, q = Split <axis = 2> (x) y = Mul (p, q)", y=_ANY3)),
    "Split-11-negative": Form(11, _f("p, q = Split <axis = -1, split = [2, 2]> (x) y = Mul (p, q)", y=_ANY3)),
    "Split-13": Form(13, _f("p, q = Split <axis = 2> (x, s) y = Sub (p, q)", y=_ANY3, weights="int64[2] s = {2, 2}")),
    "Split-13-equal": Form(17, _f("p, q, r = Split <axis = 1> (x) s = Mul (p, q) y = Mul (s, r)", y=_ANY3)),
    "Squeeze-7": Form(7, _f("y = Squeeze <axes = [0, 2]> (x)", "float[1,3,1,2]", _ANY2)),
    "Squeeze-7-all": Form(7, _f("y = Squeeze (x)", "float[1,3,1,2]", _ANY2)),
    "Squeeze-11-negative": Form(11, _f("y = Squeeze <axes = [-2]> (x)", "float[1,3,1,2]", _ANY3)),
    "Unsqueeze-7": Form(7, _f("y = Unsqueeze <axes = [0]> (x)", y=_ANY4)),
    "Unsqueeze-11-negative": Form(11, _f("y = Unsqueeze <axes = [-1]> (x)", y=_ANY4)),
    "TopK-7": Form(7, "f (float[2,5] x) => (float[2,3] y, int64[2,3] i) { y, i = TopK <k = 3> (x) }"),
    "TopK-7-axis": Form(9, "f (float[2,5] x) => (float[a,b] y, int64[a,b] i) { y, i = TopK <k = 1, axis = 0> (x) }"),
    "TopK-10": Form(10, "f (float[2,5] x) => (float[2,3] y, int64[2,3] i) <int64[1] k = {3}> { y, i = TopK (x, k) }"),
    "Dropout-7": Form(7, _f("d = Dropout <ratio = 0.9> (x) y = Sin (d)", y=_ANY3)),
    "Dropout-10": Form(10, _f("d, m = Dropout <ratio = 0.9> (x) y = Sin (d)", y=_ANY3)),
    "Dropout-12": Form(12, _f("d, m = Dropout (x, r) y = Sin (d)", y=_ANY3, weights="float r = {0.5}")),
    "BatchNormalization-7": Form(
        7, _f("y = BatchNormalization <epsilon = 0.1> (x, s, b, m, v)", _IMAGE, _ANY4, _BATCH_NORM)
    ),
    "BatchNormalization-7-spatial": Form(
        8, _f("y = BatchNormalization <spatial = 1> (x, s, b, m, v)", _IMAGE, _ANY4, _BATCH_NORM)
    ),
    "BatchNormalization-7-per-element": Form(
        7, _f("y = BatchNormalization <spatial = 0> (x, s, b, m, v)", "float[3,2,2]", _ANY3, _PER_ELEMENT)
    ),
    "BatchNormalization-9": Form(9, _f("y = BatchNormalization (x, s, b, m, v)", _IMAGE, _ANY4, _BATCH_NORM)),
    "BatchNormalization-14": Form(14, _f("y = BatchNormalization (x, s, b, m, v)", _IMAGE, _ANY4, _BATCH_NORM)),
    "Upsample-7": Form(7, _f('y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]> (x)', _IMAGE, _ANY4)),
    "Upsample-7-linear": Form(
        7, _f('y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 1.5]> (x)', _IMAGE, _ANY4)
    ),
    "Upsample-9": Form(9, _f("y = Upsample (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 1.5, 2.5}")),
    "Upsample-9-linear": Form(
        9, _f('y = Upsample <mode = "linear"> (x, s)', _IMAGE, _ANY4, "float[4] s = {1, 1, 2, 2}")
    ),
    "Resize-10": Form(10, _f("y = Resize (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 1.5, 2.5}")),
    "Resize-10-down": Form(10, _f("y = Resize (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 0.5, 0.5}")),
    "Resize-10-down-inexact": Form(10, _f("y = Resize (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 0.75, 0.7}")),
    "Resize-10-down-up": Form(10, _f("y = Resize (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 0.5, 2.5}")),
    "Resize-10-linear": Form(
        10, _f('y = Resize <mode = "linear"> (x, s)', _IMAGE, _ANY4, "float[4] s = {1, 1, 0.5, 1.5}")
    ),
    "Resize-11": Form(
        11, _f("y = Resize (x, r, s)", _IMAGE, _ANY4, "float[8] r = {0,0,0,0,0,0,0,0}, float[4] s = {1, 1, 1.5, 2.5}")
    ),
    "Resize-11-empty": Form(
        11, _f("y = Resize (x, r, s)", _IMAGE, _ANY4, "float[0] r = {}, float[4] s = {1, 1, 1.5, 2.5}")
    ),
    "Resize-11-sizes": Form(
        11, _f("y = Resize (x, e, e, z)", "float[1,2,4,6]", _ANY4, "float[0] e = {}, int64[4] z = {1, 2, 3, 9}")
    ),
    "Resize-11-tf": Form(
        11,
        _f(
            'y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor"> (x, e, s)',
            _IMAGE,
            _ANY4,
            "float[0] e = {}, float[4] s = {1, 1, 1.5, 0.7}",
        ),
    ),
    "Resize-13-crop": Form(
        13,
        _f(
            'y = Resize <coordinate_transformation_mode = "tf_crop_and_resize", mode = "linear"> (x, r, , z)',
            "float[1,2,4,6]",
            _ANY4,
            "float[8] r = {0,0,0.2,0.2,1,1,0.8,0.8}, int64[4] z = {1, 2, 3, 9}",
        ),
    ),
    "Scatter-9": Form(
        9, _f("y = Scatter <axis = 1> (x, i, u)", "float[2,3]", _ANY2, "int64[2,1] i = {0, 2}, float[2,1] u = {7, 8}")
    ),
    "ScatterElements-11": Form(
        11,
        _f(
            "y = ScatterElements <axis = 1> (x, i, u)",
            "float[2,3]",
            _ANY2,
            "int64[2,1] i = {0, 2}, float[2,1] u = {7, 8}",
        ),
    ),
    "RoiAlign-10": Form(
        10,
        _f(
            "y = RoiAlign <output_height = 2, output_width = 2> (x, r, i)",
            "float[1,2,6,6]",
            _ANY4,
            "float[1,4] r = {0.5, 1, 4, 5}, int64[1] i = {0}",
        ),
    ),
    "Gemm-7-broadcast": Form(
        7,
        _f(
            "y = Gemm <transB = 1, alpha = 0.5> (x, w, b)",
            "float[N,3]",
            _ANY2,
            "float[2,3] w = {1,2,3,4,5,6}, float[2] b = {1, 2}",
        ),
    ),
    "MaxPool-8": Form(
        8, _f('y = MaxPool <kernel_shape = [2, 2], auto_pad = "SAME_UPPER", strides = [2, 2]> (x)', _IMAGE, _ANY4)
    ),
    "AveragePool-7": Form(7, _f("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)", _IMAGE, _ANY4)),
    "DepthToSpace-7": Form(7, _f("y = DepthToSpace <blocksize = 2> (x)", "float[1,8,2,3]", _ANY4)),
    "Flatten-7": Form(7, _f("y = Flatten <axis = 2> (x)", y=_ANY2)),
    "Cast-7": Form(7, "f (float[2,3] x) => (int64[2,3] y) { y = Cast <to = 7> (x) }"),
    "LSTM-7": Form(
        7,
        _f(
            "y = LSTM <hidden_size = 1> (x, w, r)",
            "float[4,N,2]",
            _ANY4,
            "float[1,4,2] w = {1,2,3,4,5,6,7,8}, float[1,4,1] r = {0.1,0.2,0.3,0.4}",
        ),
    ),
    "OneHot-9": Form(
        9, "f (int64[3] i) => (float[a,b] y) <int64 d = {4}, float[2] v = {0, 2}> { y = OneHot (i, d, v) }"
    ),
    "ConstantOfShape-9": Form(9, _f("s = Shape (x) c = ConstantOfShape (s) y = Add (x, c)", y=_ANY3)),
    "Scan-8": Form(
        8,
        _f(
            """h, y = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] v) => (float[3] t, float[3] o)
        { t = Add (s, v) o = Sin (t) }> (, z, x)""",
            "float[2,4,3]",
            _ANY3,
            "float[2,3] z = {1,2,3,4,5,6}",
        ),
    ),
    "Scan-8-reverse": Form(
        8,
        _f(
            """h, y = Scan <num_scan_inputs = 1, directions = [1], body = b (float[3] s, float[3] v) => (float[3] t,
            float[3] o)
        { t = Add (s, v) o = Clip <max = 1.0> (t) }> (, z, x)""",
            "float[2,4,3]",
            _ANY3,
            "float[2,3] z = {1,2,3,4,5,6}",
        ),
    ),
    "Scan-9-body": Form(
        9,
        _f(
            """h, y = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] v) => (float[3] t, float[3] o)
        { u = Slice <starts = [1], ends = [2]> (v) t = Add (s, u) o = Softmax <axis = 0> (t) }> (z, x)""",
            "float[4,3]",
            _ANY2,
            "float[3] z = {1,2,3}",
        ),
    ),
    "If-7": Form(
        7,
        """f (float[2,3] x) => (float[a,b] y) <bool c = {1}>
        { y = If (c) <then_branch = t () => (float[a,b] p) { p = Pad <pads = [0, 1, 0, -1]> (x) },
                      else_branch = e () => (float[a,b] q) { q = Clip <min = 0.0> (x) }> }""",
    ),
    "If-11-computed": Form(
        11,
        """f (float[2,3] x) => (float[a,b] y)
        { k = ReduceSum <keepdims = 0> (x) z = Constant <value = float {0}> () c = Less (k, z)
          y = If (c) <then_branch = t () => (float[a,b] p) { p = Softmax <axis = 0> (x) },
                      else_branch = e () => (float[a,b] q) { r = Unsqueeze <axes = [0]> (x) q = Squeeze <axes = [0]>
                      (r) }> }""",
    ),
    "Loop-8": Form(
        8,
        """f (float[2,3] x) => (float[2,3] y) <int64 n = {3}, bool c = {1}>
        { y = Loop (n, c, x) <body = b (int64 i, bool k, float[2,3] s) => (bool l, float[2,3] t)
          { l = Identity (k) t = Clip <min = -0.3, max = 0.9> (s) }> }""",
    ),
    "IR-3-initialisers-among-inputs": Form(
        8, """f (float[2,3] x, float[3] w) => (float[2,3] y) <float[3] w = {1, 2, 3}> { y = Mul (x, w) }""", 3
    ),
}

DOWN: dict[str, Form] = {
    "Gelu-20": Form(20, _f("y = Gelu (x)", y=_ANY3)),
    "Gelu-20-tanh": Form(20, _f('y = Gelu <approximate = "tanh"> (x)', y=_ANY3)),
    "Gelu-20-in-If": Form(
        20,
        """f (float[2,3] x) => (float[a,b] y) <bool c = {1}>
        { y = If (c) <then_branch = t () => (float[a,b] p) { p = Gelu (x) }, else_branch = e () => (float[a,b] q) { q
        = Sin (x) }> }""",
    ),
    "GroupNormalization-21": Form(
        21,
        _f(
            "y = GroupNormalization <num_groups = 2> (x, s, b)",
            "float[N,4,3]",
            _ANY3,
            "float[4] s = {1,2,3,4}, float[4] b = {1,0,1,0}",
        ),
    ),
    "RMSNormalization-23": Form(23, _f("y = RMSNormalization (x, s)", y=_ANY3, weights="float[4] s = {1,2,3,4}")),
    "RotaryEmbedding-23": Form(
        23,
        _f(
            "y = RotaryEmbedding (x, c, s)",
            "float[1,2,2,4]",
            _ANY4,
            "float[1,2,2] c = {1,0.5,0.3,0.2}, float[1,2,2] s = {0,0.1,0.2,0.3}",
        ),
    ),
    "Attention-23": Form(23, _f("y = Attention (x, x, x)", "float[1,2,3,4]", _ANY4)),
    "Attention-24-causal": Form(24, _f("y = Attention <is_causal = 1> (x, x, x)", "float[1,2,3,4]", _ANY4)),
    "GridSample-20-linear": Form(
        20,
        _f('y = GridSample <mode = "linear"> (x, g)', "float[1,1,3,3]", _ANY4, "float[1,1,2,2] g = {0.1,0.2,-0.4,0.9}"),
    ),
    "GridSample-20-cubic": Form(
        20,
        _f('y = GridSample <mode = "cubic"> (x, g)', "float[1,1,3,3]", _ANY4, "float[1,1,2,2] g = {0.1,0.2,-0.4,0.9}"),
    ),
    "DFT-20": Form(20, _f("y = DFT (x, , a)", "float[2,5,1]", _ANY3, "int64 a = {1}")),
    "DFT-20-default": Form(20, _f("y = DFT (x)", "float[2,5,1]", _ANY3)),
    "AveragePool-19": Form(19, _f("y = AveragePool <kernel_shape = [2, 2], ceil_mode = 1> (x)", _IMAGE, _ANY4)),
    "AveragePool-19-default-dilations-left-out": Form(
        22, _f("y = AveragePool <kernel_shape = [3, 3], count_include_pad = 1, pads = [1,1,1,1]> (x)", _IMAGE, _ANY4)
    ),
    "Cast-19-saturate-default": Form(
        19, "f (float[2,3] x) => (float16[2,3] y) { y = Cast <to = 10, saturate = 1> (x) }"
    ),
    "Elu-22": Form(22, _f("y = Elu <alpha = 0.5> (x)", y=_ANY3)),
    "Reshape-23": Form(23, _f("y = Reshape (x, s)", y=_ANY2, weights="int64[2] s = {0, -1}")),
    "Resize-19": Form(19, _f('y = Resize <mode = "cubic"> (x, , s)', _IMAGE, _ANY4, "float[4] s = {1, 1, 1.5, 2}")),
    "QuantizeLinear-21": Form(
        21,
        "f (float[2,3] x) => (float[2,3] y) <float s = {0.1}, uint8 z = {100}> { q = QuantizeLinear (x, s, z) y "
        "= DequantizeLinear (q, s, z) }",
    ),
    "TopK-24": Form(24, "f (float[2,5] x) => (float[2,3] y, int64[2,3] i) <int64[1] k = {3}> { y, i = TopK (x, k) }"),
    "Scan-25": Form(
        25,
        _f(
            """h, y = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] v) => (float[3] t, float[3] o)
        { t = Add (s, v) o = Sin (t) }> (z, x)""",
            "float[4,3]",
            _ANY2,
            "float[3] z = {1,2,3}",
        ),
    ),
}

KEPT: dict[str, Form] = {
    "AveragePool-19-dilations": Form(
        19, _f("y = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (x)", _IMAGE, _ANY4)
    ),
    "AveragePool-19-partial-window": Form(
        19, _f("y = AveragePool <kernel_shape = [2, 2], ceil_mode = 1, count_include_pad = 1> (x)", _IMAGE, _ANY4)
    ),
    "Pad-19-wrap": Form(19, _f('y = Pad <mode = "wrap"> (x, p)', y=_ANY3, weights="int64[6] p = {0,1,0,0,1,0}")),
    "DequantizeLinear-21-blocks": Form(
        21,
        "f (float[2,4] x) => (float[2,4] y) <int8[2,4] q = {1,2,3,4,5,6,7,8}, float[2,2] s = {1,2,3,4}> { d = "
        "DequantizeLinear <axis = 1, block_size = 2> (q, s) y = Mul (d, x) }",
    ),
    "GridSample-20-volume": Form(
        20, _f("y = GridSample (x, g)", "float[1,1,2,2,2]", "float[a,b,c,d,e]", "float[1,1,1,1,3] g = {0.1,0.2,0.3}")
    ),
    "DeformConv-19": Form(
        19,
        _f(
            "y = DeformConv (x, w, o)",
            "float[1,1,3,3]",
            _ANY4,
            "float[1,1,2,2] w = {1,2,3,4}, float[1,8,2,2] o = "
            "{0.1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}",
        ),
    ),
    "Gelu-beside-what-18-lacks": Form(
        20, _f('g = Gelu (x) y = Pad <mode = "wrap"> (g, p)', y=_ANY3, weights="int64[6] p = {0,1,0,0,1,0}")
    ),
}

REFUSED: dict[str, tuple[Form, str]] = {
    "opset 6": (Form(6, _f("y = Sin (x)")), "opset 6 is too old"),
    "training statistics": (
        Form(
            9,
            f"f ({_IMAGE} x) => (float[a,b,c,d] y, float[c] mm) <{_BATCH_NORM}> {{ y, mm, vv = "
            f"BatchNormalization (x, s, b, m, v) }}",
        ),
        "BatchNormalization.*training",
    ),
    "training mask": (
        Form(10, _f("d, m = Dropout (x) c = Cast <to = 1> (m) y = Mul (d, c)", y=_ANY3)),
        "Dropout.*training",
    ),
    "Resize up and down": (
        Form(10, _f("y = Resize (x, s)", _IMAGE, _ANY4, "float[4] s = {1, 1, 0.7, 2.5}")),
        "Resize.*round",
    ),
    "Scan lengths": (
        Form(
            8,
            _f(
                """h, y = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] v) => (float[3] t, float[3] o)
        { t = Add (s, v) o = Sin (t) }> (l, z, x)""",
                "float[2,4,3]",
                _ANY3,
                "int64[2] l = {3, 2}, float[2,3] z = {1,2,3,4,5,6}",
            ),
        ),
        "Scan.*sequence_lens",
    ),
}

# Attributes were added whose default is the old behaviour (read in the standard's texts), or only types were dropped.
COMPATIBLE_BY_HAND = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "Constant",
        "DepthToSpace",
        "DequantizeLinear",
        "GRU",
        "GatherND",
        "LSTM",
        "LpPool",
    }
    | {"MaxPool", "QuantizeLinear", "RNN", "Reshape", "ScatterElements", "ScatterND", "Shape"}
)
