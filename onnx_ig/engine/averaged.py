"""Path rules around another: averaged over x with noise (SmoothGrad, VarGrad) or over baselines, or its magnitude.

The one idea: each is a path rule around another, so that whatever takes a rule takes these.

Sources: Smilkov et al., "SmoothGrad" (arXiv 1706.03825); Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv
1810.03292), VarGrad; Captum's ``NoiseTunnel``, whose averages these are; Erion et al., "Improving performance of deep
learning models with axiomatic attribution priors and expected gradients" (arXiv 1906.10670).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from onnx_ig.common.types import Array, Progress
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.note import Note
from onnx_ig.engine.path_rule import PathRule
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import kind_of

NoiseKind: TypeAlias = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]


@dataclass(frozen=True)
class Noise:
    """Attributions A at x + ε, ε ~ N(0, std²) drawn anew for each of the ``samples``.

    Attributes:
        samples: S, how many are averaged.
        std: the standard deviation, in the inputs' own units.
        kind: ``smoothgrad``: the mean of A; ``smoothgrad_sq``: of A²; ``vargrad``: mean A² − (mean A)².
        seed: the same noise again.

    Raises:
        UsageError: fewer than one sample, a negative or infinite ``std``, an unknown ``kind``.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> noise = onnx_ig.Noise(samples=500, std=0.1, kind="vargrad")
    >>> found = onnx_ig.InputXGradient(model).explain(x, target=1, noise=noise)  # of 2 x², which varies by (4 x std)²
    >>> print(found.attributions.round(1))
    [[0.  2.4]]
    """

    samples: int = 10
    std: float = 0.1
    kind: NoiseKind = "smoothgrad"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"{self.samples} samples of noise: at least one is needed")
        if not (self.std >= 0 and np.isfinite(self.std)):
            raise UsageError(f"noise of standard deviation {self.std}: give a number from 0")
        if self.kind not in get_args(NoiseKind):
            raise UsageError(f"noise kind {self.kind!r} is none of {', '.join(get_args(NoiseKind))}")

    def drawn(self, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """The inputs with noise, sample by sample.

        Raises:
            InputError: none of them holds floats.
        """
        if not any(kind_of(x.dtype) == "f" for x in inputs.values()):
            raise InputError(
                f"noise is added to a model's inputs of floats, and {', '.join(inputs)} hold none: no id or text is "
                "near another. Leave the noise out, average over baselines (average_baselines=, --baseline @FILE), or "
                "explain the part of the model behind its embedding"
            )
        generator = np.random.default_rng(self.seed)
        for _ in range(self.samples):
            yield {
                name: (x + generator.normal(0, self.std, x.shape)).astype(x.dtype) if kind_of(x.dtype) == "f" else x
                for name, x in inputs.items()
            }


@dataclass(frozen=True)
class _Averaged:
    """What all have in common: another rule, and its answers averaged."""

    rule: PathRule

    @property
    def nodes(self) -> Array:
        return self.rule.nodes

    @property
    def path_parts(self) -> int:
        return self.rule.path_parts

    def missed(self, found: Attribution) -> Note | None:
        return self.rule.missed(found) if found.steps_used is not None else None

    def _mean(
        self,
        requests: Iterator[Request],
        count: int,
        call: Callable[[Request, Progress | None], Attribution],
        progress: Progress | None,
        square: bool = False,
    ) -> tuple[Attribution, dict[str, Array]]:
        """The mean of all numbers, and of the squared attributions; of errors and steps each example's largest."""
        sums: dict[str, Array] = {}
        squares: dict[str, Array] = {}
        numbers: dict[str, Array] = {}
        worst: dict[str, Array] = {}
        for sample, request in enumerate(requests):
            part = None if progress is None else _part(progress, sample, count)
            one = call(request, part)
            for name, array in one.attributions.items():
                wide = array.astype(np.float64) / count
                sums[name] = sums[name] + wide if name in sums else wide
                if square:
                    squares[name] = squares.get(name, np.zeros_like(wide)) + count * wide**2
            for name in ("scores", "baseline_scores", "delta"):
                if (value := getattr(one, name)) is not None:
                    numbers[name] = numbers.get(name, np.zeros(len(value))) + np.asarray(value, np.float64) / count
            for name in ("error_estimate", "steps_used"):
                if (value := getattr(one, name)) is not None:
                    worst[name] = np.maximum(worst.get(name, value), value)
            kinds = {name: array.dtype for name, array in one.attributions.items()}
        found = Attribution({name: array.astype(kinds[name]) for name, array in sums.items()}, **numbers, **worst)
        return found, squares


@dataclass(frozen=True)
class Noisy(_Averaged):
    """``rule`` at x with ``noise``. F is that of x itself, the delta the mean of the samples'."""

    noise: Noise = field(default_factory=Noise)

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        """The mean, or another average, of the samples' attributions."""
        progress = options.pop("progress", None)
        requests = (replace(request, inputs=inputs) for inputs in self.noise.drawn(request.inputs))
        found, squares = self._mean(
            requests,
            self.noise.samples,
            lambda one, part: self.rule.integrate(engine, one, estimate, progress=part, **options),
            progress,
            square=self.noise.kind != "smoothgrad",
        )
        if found.scores is not None:
            found.scores = engine.scores(request, options.get("internal_batch_size"))
        if self.noise.kind == "smoothgrad":
            return found
        for name, mean in found.attributions.items():
            varies = squares[name] - (mean.astype(np.float64) ** 2 if self.noise.kind == "vargrad" else 0)
            found.attributions[name] = varies.astype(mean.dtype)
        found.delta = found.error_estimate = None  # of squares nothing adds up
        return found


@dataclass(frozen=True)
class FromEach(_Averaged):
    """Expected gradients: ``rule`` from each row of ``baselines``, averaged; by input name, K rows each.

    The baseline's F is the mean over the rows too, so that the attributions add up to F(x) − mean F(x').
    """

    baselines: Mapping[str, Array] = field(default_factory=dict)

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        """The mean over the baselines."""
        each = row_by_row(self.baselines)
        progress = options.pop("progress", None)
        found, _ = self._mean(
            (replace(request, baselines=request.baselines | row) for row in each),
            len(each),
            lambda one, part: self.rule.integrate(engine, one, estimate, progress=part, **options),
            progress,
        )
        return found


@dataclass(frozen=True)
class Magnitude(_Averaged):
    """|A| of another rule's attributions: before they are averaged, since noise may turn their sign."""

    def integrate(self, engine: Engine, request: Request, estimate: bool, **options: Any) -> Attribution:
        """The same numbers but for the attributions' signs."""
        found = self.rule.integrate(engine, request, estimate, **options)
        found.attributions = {name: np.abs(array) for name, array in found.attributions.items()}
        return found


def _part(progress: Progress, sample: int, count: int) -> Progress:
    """The progress of one sample as that of all."""
    return lambda done, total: progress(sample * total + done, count * total)


def smoothed(rule: PathRule, noise: Noise | None) -> PathRule:
    """``rule``, at x with ``noise`` if there is some."""
    return rule if noise is None else Noisy(rule, noise)


def from_each(rule: PathRule, baselines: Mapping[str, Array]) -> PathRule:
    """``rule`` from each row of ``baselines`` if there are some; within the noise, which then moves their mean."""
    if not baselines:
        return rule
    if isinstance(rule, Noisy):
        return replace(rule, rule=from_each(rule.rule, baselines))
    return FromEach(rule, baselines)


def row_by_row(baselines: Mapping[str, Array]) -> list[dict[str, Array]]:
    """The K rows of ``baselines``, each as one baseline of every example."""
    count = max(map(len, baselines.values()))
    return [{name: rows[k : k + 1] for name, rows in baselines.items()} for k in range(count)]


def innermost(rule: PathRule) -> PathRule:
    """The rule that others average."""
    return innermost(rule.rule) if isinstance(rule, _Averaged) else rule
