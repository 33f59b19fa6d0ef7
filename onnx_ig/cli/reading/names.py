"""``--names``: what to call features and classes, held against the shapes before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_ig.common.suggestions import nearest
from onnx_ig.data import names_in_metadata
from onnx_ig.data.encoding import encoding_advice
from onnx_ig.errors import InputError, UsageError
from onnx_ig.report.labels import FeatureNames, check_names, is_per_example

if TYPE_CHECKING:
    from onnx_ig.loading.model import Model

_MEANT = (
    '{"features": [...], or [[...], ...] with a list for each example, or {tensor: either}, "classes": [...]}, '
    "lists of strings"
)


@dataclass(frozen=True)
class Names:
    """What ``--names`` says.

    Attributes:
        features: for every attributed tensor, or by the tensors' names.
        classes: in the order of the targets.
        told: the names of a table's features by the model's own metadata.
    """

    features: FeatureNames | Mapping[str, FeatureNames] = ()
    classes: Sequence[str] | None = None
    told: Sequence[str] = ()
    file: str = field(default="--names", compare=False)

    def columns(self, inner: bool) -> list[str]:
        """The names of a table's columns, in the model's order; empty where they are not those of all rows.

        ``inner``: a tensor inside the graph is attributed, and the names that were given are of its elements.
        """
        if inner:
            return list(self.told)
        lists = list(self.features.values()) if isinstance(self.features, Mapping) else [self.features]
        shared = [names for names in lists if names and not is_per_example(names)]
        return [str(name) for name in shared[0]] if len(shared) == 1 else list(self.told)

    def or_in(self, model: Model, output: str | None) -> Names:
        """The same, with what they leave out taken from the model's metadata: classes are those of an ``output`` that
        the model has, and that has as many.
        """
        told = names_in_metadata(model.ir_model.metadata_props)
        classes = told.get("classes")
        explained = [y for y in model.outputs if output in (None, y.name)]
        widths = {y.shape[-1] for y in explained if y.shape is not None and len(y.shape)}
        fit = bool(explained) and any(not isinstance(width, int) or width == len(classes or ()) for width in widths)
        return replace(
            self,
            classes=self.classes or (classes if fit or (explained and not widths) else None),
            told=tuple(told.get("features", ())),
        )

    def of_features(self, tensors: Sequence[str]) -> dict[str, FeatureNames]:
        """The names for each of ``tensors`` that has some.

        Raises:
            UsageError: names for a tensor that is not attributed.
        """
        if not isinstance(self.features, Mapping):
            return dict.fromkeys(tensors, self.features) if self.features else {}
        for name in self.features:
            if name not in tensors:
                raise UsageError(
                    f"{self.file} names features of {name!r}, which is not attributed{nearest(name, tensors)}: "
                    f"{', '.join(map(repr, tensors))} is"
                )
        return dict(self.features)

    def of_each_example(self) -> list[FeatureNames]:
        """Those that are a list for each example."""
        lists = list(self.features.values()) if isinstance(self.features, Mapping) else [self.features]
        return [names for names in lists if is_per_example(names)]

    def of_some(self, some: Callable[[FeatureNames], FeatureNames]) -> Names:
        """The same for ``some`` of the examples, which may have names of their own."""

        def cut(names: FeatureNames) -> FeatureNames:
            return some(names) if is_per_example(names) else names

        if isinstance(self.features, Mapping):
            return replace(self, features={name: cut(names) for name, names in self.features.items()})
        return replace(self, features=cut(self.features))

    def check(
        self, shapes: Mapping[str, Sequence[int | None] | None], examples: int, dims: Sequence[int | None]
    ) -> None:
        """Whether the names are as many as there is to name, as far as that is known.

        Args:
            shapes: of each attributed tensor, the axis of examples included; None where nothing is known.
            dims: the output's dimensions for one example.

        Raises:
            UsageError, InputError: they are not.
        """
        for tensor, names in self.of_features(list(shapes)).items():
            shape = shapes[tensor]
            if shape is not None:
                check_names(tensor, names, len(shape), shape[1] if len(shape) > 1 else None, examples)
        if self.classes is not None and len(dims) == 1 and dims[0] not in (None, len(self.classes)):
            raise InputError(f"{self.file} has {len(self.classes)} class names, the output {dims[0]} classes")


def read_names(path: Path | None) -> Names:
    """The names in a JSON file, or in a text with a class in each line.

    A JSON list is of the classes, and so is the ``id2label`` of a model's config.json.

    Raises:
        UsageError: no such file; InputError: neither of them.
    """
    if path is None:
        return Names()
    where = f"--names {path}"
    if not path.is_file():
        raise UsageError(f"{where}: no such file")
    try:
        text = path.read_text("utf-8-sig")
        content = text.splitlines() if path.suffix.lower() == ".txt" else json.loads(text)
    except ValueError as error:  # of JSON or of UTF-8
        raise InputError(f"{where}: not a JSON file, nor a text in UTF-8 ({error}{encoding_advice(error)})") from error
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected {_MEANT}")
    if "classes" not in content and isinstance(content.get("id2label"), dict):
        content = {**content, "classes": _in_order(content["id2label"], where)}
    features, classes = content.get("features", []), content.get("classes")
    given = list(features.values()) if isinstance(features, dict) else [features]
    if not all(_is_list_of_names(entry) or _is_list_of_lists(entry) for entry in given):
        raise InputError(f"{where}: expected {_MEANT}")
    if classes is not None and not _is_list_of_names(classes):
        raise InputError(f"{where}: expected {_MEANT}")
    return Names(features, classes, file=where)


def _in_order(labels: Mapping[str, Any], where: str) -> list[Any]:
    """The labels of ``{"0": ..., "1": ...}``."""
    if sorted(labels) != sorted(map(str, range(len(labels)))):
        raise InputError(f"{where}: the numbers in id2label are not 0 to {len(labels) - 1}")
    return [labels[str(number)] for number in range(len(labels))]


def _is_list_of_names(entry: Any) -> bool:
    return isinstance(entry, list) and all(isinstance(name, str) for name in entry)


def _is_list_of_lists(entry: Any) -> bool:
    return isinstance(entry, list) and all(_is_list_of_names(names) for names in entry)
