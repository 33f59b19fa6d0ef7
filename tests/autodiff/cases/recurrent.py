"""RNN, GRU and LSTM: every direction, length, output, option and named activation; weights, states and peepholes."""

from typing import Any

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)
_STEPS, _ROWS, _IN, _HIDDEN = 4, 3, 2, 3
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_OUTPUTS = {"RNN": 2, "GRU": 2, "LSTM": 3}
_FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
_PARAMETERS = {  # function -> (alpha, beta); None: the function takes no such parameter
    "Relu": (None, None),
    "Tanh": (None, None),
    "Sigmoid": (None, None),
    "Affine": (0.7, 0.1),
    "LeakyRelu": (0.3, None),
    "ThresholdedRelu": (0.2, None),
    "ScaledTanh": (0.6, 0.9),
    "HardSigmoid": (0.3, 0.4),
    "Elu": (0.5, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
}


def _f(*shape: int) -> np.ndarray:
    return np.asarray(0.7 * _rng.standard_normal(shape), np.float32)


def _case(
    op_type: str,
    name: str,
    *,
    lens: list[int] | None = None,
    bias: bool = True,
    states: bool = True,
    peepholes: bool = False,
    outputs: tuple[int, ...] | None = None,
    fixed_weights: bool = False,
    **attributes: Any,
) -> Case:
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = _GATES[op_type] * _HIDDEN
    swap = (lambda x: np.ascontiguousarray(x.swapaxes(0, 1))) if attributes.get("layout") else (lambda x: x)
    inputs = [
        swap(_f(_STEPS, _ROWS, _IN)),
        _f(d, gates, _IN),
        _f(d, gates, _HIDDEN),
        _f(d, 2 * gates) if bias else None,
    ]
    inputs += [None if lens is None else np.array(lens, np.int32), swap(_f(d, _ROWS, _HIDDEN)) if states else None]
    if op_type == "LSTM":
        inputs += [swap(_f(d, _ROWS, _HIDDEN)) if states else None, _f(d, 3 * _HIDDEN) if peepholes else None]
    while inputs[-1] is None:
        inputs.pop()
    constants = ((1, 2, 3) if bias else (1, 2)) if fixed_weights else ()
    case = make_case(
        op_type,
        inputs,
        name=f"{op_type.lower()}_{name}",
        n_outputs=_OUTPUTS[op_type],
        constants=constants,
        hidden_size=_HIDDEN,
        **attributes,
    )
    if outputs is not None:
        _keep_outputs(case, outputs)
    return case


def _keep_outputs(case: Case, kept: tuple[int, ...]) -> None:
    """Leave out the node's other outputs."""
    node, infos = case.model.graph.node[0], list(case.model.graph.output)
    names = [y if i in kept else "" for i, y in enumerate(node.output)][: max(kept) + 1]
    del node.output[:], case.model.graph.output[:]
    node.output.extend(names)
    case.model.graph.output.extend(infos[i] for i in kept)


def _cases(op_type: str) -> list[Case]:
    made = []
    for direction in ("forward", "reverse", "bidirectional"):
        made += [
            _case(op_type, direction, direction=direction),
            _case(op_type, f"{direction}_lengths", direction=direction, lens=[4, 1, 3]),
            _case(op_type, f"{direction}_bare", direction=direction, bias=False, states=False),
            _case(op_type, f"{direction}_fixed_weights", direction=direction, fixed_weights=True, lens=[2, 4, 3]),
        ]
    for i in range(_OUTPUTS[op_type]):
        made.append(_case(op_type, f"output_{i}", outputs=(i,), direction="bidirectional"))
        made.append(_case(op_type, f"output_{i}_lengths", outputs=(i,), direction="reverse", lens=[4, 2, 1]))
    made.append(_case(op_type, "layout_1", layout=1, direction="bidirectional", lens=[4, 2, 3]))
    made.append(_case(op_type, "clip", clip=0.5))
    for name, (alpha, beta) in _PARAMETERS.items():
        n = _FUNCTIONS[op_type]
        given: dict[str, Any] = {
            key: [value] * n for key, value in (("activation_alpha", alpha), ("activation_beta", beta)) if value
        }
        # Softplus as a gate of an LSTM grows without bound.
        functions = ["Sigmoid", name, "Tanh"] if name == "Softplus" and op_type == "LSTM" else [name] * n
        made.append(_case(op_type, f"activation_{name}", activations=functions, **given))
    return made


_LSTM_OPTIONS: dict[str, dict[str, Any]] = {
    "peepholes": {"peepholes": True},
    "coupled": {"input_forget": 1},
    "coupled_peepholes": {"input_forget": 1, "peepholes": True},
    "clip_peepholes": {"clip": 0.6, "peepholes": True},
}


CASES = [case for op_type in _GATES for case in _cases(op_type)] + [
    *(
        _case("GRU", f"reset_last_{d}{'_lengths' if lens else ''}", linear_before_reset=1, direction=d, lens=lens)
        for d in ("forward", "reverse", "bidirectional")
        for lens in (None, [3, 4, 1])
    ),
    _case("GRU", "reset_last_bare", linear_before_reset=1, bias=False, states=False),
    _case(
        "GRU",
        "mixed_activations",
        activations=["HardSigmoid", "LeakyRelu"] * 2,
        activation_alpha=[0.3, 0.6, 0.2, 0.1],
        activation_beta=[0.4, 0.3],
        direction="bidirectional",
    ),
    *(
        _case("LSTM", f"{name}_{d}{'_lengths' if lens else ''}", direction=d, lens=lens, **options)
        for d in ("forward", "reverse", "bidirectional")
        for lens in (None, [4, 1, 3])
        for name, options in _LSTM_OPTIONS.items()
    ),
]
