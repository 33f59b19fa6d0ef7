"""Whether an attribution model that is open treats its examples apart: the questions of independence, asked of it.

The one idea: F and the gradient of each example are compared, wherever the file lets one point of the path be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.common.types import Array
from onnx_ig.engine.independence import (
    Feeds,
    Run,
    require_independent_rows,
    require_path_points_apart,
    require_rows_undisturbed,
)
from onnx_ig.errors import OutOfMemoryError

_ON_THE_WAY = 0.3  # along the path, where rows that stay together are compared besides


def require_attributions_apart(
    contract: Contract,
    run: Callable[[Feeds], Mapping[str, Array]],
    feeds: Feeds,
    path: Feeds,
    axes: Mapping[str, int] | None,
    *,
    quantised: bool,
    forward: Run | None = None,
) -> bool:
    """Refuse a model that mixes examples; False where no two rows fit in memory, so that none will ever ride together.

    Args:
        run: the session's.
        feeds: what every Run is fed but the path: one row or two, or all where they stay together.
        path: the inputs of one path point, its node and weight, where the model takes them; else empty.
        axes: of the rows, by input, where all of them stay together; else None.
        quantised: whether the model quantises its activations dynamically.
        forward: F of each row, compared alone where the path is in the model.

    Raises:
        InputError: it mixes them. ModelError: it does not run.
    """
    stepped = contract.form == "step"
    score = contract.prefix + (names.PATH_SCORES if stepped else names.SCORE)
    moved = [*contract.named("attributed"), *contract.named("per_example")]
    per_row = {*moved, *contract.named("target")}
    first = {name: value[:1] if name in per_row else value for name, value in feeds.items()}

    def found(fed: Feeds, nodes: Array) -> tuple[Array, list[Array]]:
        own = zip(path, (nodes, np.ones_like(nodes)), strict=False)
        result = run({**fed, **{name: value.astype(path[name].dtype) for name, value in own}})
        return result[score], [result[contract.prefix + names.ATTRIBUTION + name] for name in contract.at]

    def at(node: float) -> Run:
        def results(fed: Feeds) -> list[Array]:
            scores, attributions = found(fed, np.array([node]))
            return [scores[0] if stepped else scores, *attributions]

        return results

    def along(nodes: Array) -> tuple[Array | None, list[Array]]:
        scores, attributions = found(first, nodes)
        return scores[:, 0] if stepped else None, attributions

    inside = not path and contract.algorithm == "integrated-gradients"
    results = forward if inside else at(1)
    if results is None:
        return True
    if axes is not None:
        require_rows_undisturbed(results, feeds, axes, quantised=quantised)
        if path:
            require_rows_undisturbed(at(_ON_THE_WAY), feeds, axes, quantised=quantised, far=False)
        return True
    try:
        require_independent_rows(results, feeds, per_row, moved, quantised=quantised, between=inside)
        if path:
            require_path_points_apart(along, quantised=quantised)
    except OutOfMemoryError:
        return False
    return True
