"""``--noise-samples`` and its kin: noise as asked for, and what reports say of averages."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_ig.cli.attributing.request import AttributeOptions
from onnx_ig.common.types import Array
from onnx_ig.engine.averaged import Noise
from onnx_ig.errors import UsageError


def requested_noise(options: AttributeOptions) -> Noise | None:
    """The noise of the options, None without any.

    Raises:
        UsageError: samples without a deviation, or the other way round.
    """
    if options.noise_samples is None:
        for name, value in (("--noise-std", options.noise_std), ("--noise-kind", options.noise_kind)):
            if value is not None:
                raise UsageError(f"{name} goes with --noise-samples: say how many inputs with noise are averaged")
        return None
    if options.noise_std is None:
        raise UsageError(
            "--noise-samples needs --noise-std, the noise's standard deviation in the input's own units: a tenth of "
            "the range of its values is usual"
        )
    return Noise(options.noise_samples, options.noise_std, options.noise_kind or "smoothgrad", options.seed)


def noise_notes(noise: Noise | None) -> tuple[str, ...]:
    """What a report says of noise."""
    if noise is None:
        return ()
    drawn = f"{noise.samples} samples with a standard deviation of {noise.std:.3g} (seed {noise.seed})"
    return (f"noise: {noise.kind} of {drawn}",)


def baseline_notes(many: Mapping[str, Array]) -> tuple[str, ...]:
    """What a report says of baselines that are averaged over."""
    counts = {len(rows) for rows in many.values()}
    return tuple(f"baseline: the attributions are averaged over {n} baselines (expected gradients)" for n in counts)
