"""The errors a user can meet: one class per exit code, each message saying what, where, and what to do."""

from __future__ import annotations

import sys
import warnings


class OnnxIgError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UsageError(OnnxIgError, ValueError):
    """An option or argument that cannot be meant: unknown name, contradiction, missing file."""

    exit_code = 2


class MissingDependencyError(OnnxIgError, ImportError):
    """An optional package is needed and not installed; the message names the extra that brings it."""

    exit_code = 2


class ModelError(OnnxIgError):
    """The model cannot be read, is unsafe to read, or cannot be normalised."""

    exit_code = 3


class NotDifferentiableError(ModelError):
    """A node on the path from the attributed tensor to the output has no gradient here.

    Attributes: ``op_type``, ``node_name``, ``reason``, ``advice``: the message joins all four.
    """

    def __init__(self, op_type: str, node_name: str, reason: str, advice: str) -> None:
        super().__init__(op_type, node_name, reason, advice)  # what pickle makes it from again
        self.op_type, self.node_name, self.reason, self.advice = op_type, node_name, reason, advice

    def __str__(self) -> str:
        return f"cannot differentiate {self.op_type} (node {self.node_name!r}): {self.reason}. {self.advice}"


class NoGradientPathError(ModelError):
    """No requested tensor reaches the output through differentiable operators."""


class InputError(OnnxIgError, ValueError):
    """An input, baseline, target or additional argument of the wrong shape, type, name or value."""

    exit_code = 4


class ProviderError(OnnxIgError, RuntimeError):
    """The execution provider asked for is absent or was not actually used."""

    exit_code = 5


class OutOfMemoryError(OnnxIgError, MemoryError):
    """One example at one path point does not fit in the device's memory."""

    exit_code = 6


class ToleranceError(OnnxIgError):
    """A requested convergence tolerance was not reached."""

    exit_code = 7


class VerificationError(OnnxIgError):
    """Attributions differ from the reference by more than the tolerance."""

    exit_code = 8


class OnnxIgWarning(UserWarning):
    """Something the user should know that does not make the result wrong."""


def warn(sentence: str) -> None:
    """Give an :class:`OnnxIgWarning` about the line, of all that led here, that is nearest and not this package's."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "onnx_ig":
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, OnnxIgWarning, stacklevel=level)
