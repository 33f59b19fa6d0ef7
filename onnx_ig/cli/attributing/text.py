"""Sentences in ``attribute``: their tokens have no gradient, so they are attributed where the model embeds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnx_ig.autodiff.entrances import entrances
from onnx_ig.cli.attributing.request import AttributeOptions
from onnx_ig.data import TEXT_SUFFIXES, split_name, token_input
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model


def at_the_embedding(model: Model, options: AttributeOptions) -> AttributeOptions:
    """``options`` with ``at`` the embedding of the tokens, where sentences are given and no place is named.

    Raises:
        InputError: there is no such tensor, or several.
    """
    specs = [spec_of(x) for x in model.inputs]
    given = [split_name(text, [spec.name for spec in specs]) for text in options.inputs]
    sentences = [(name, Path(file)) for name, file in given if Path(file).suffix.lower() in TEXT_SUFFIXES]
    if options.at or not sentences:
        return options
    name = token_input(specs, sentences[0][1], sentences[0][0])
    found = entrances(model.ir_model.graph, [x for x in model.inputs if x.name == name])
    places = [str(x.name) for x in found if x.shape is not None and len(x.shape) == 3]
    if len(places) != 1:
        known = f"it is one of {', '.join(map(repr, places))}" if places else "none was found"
        raise InputError(
            f"where the model embeds the tokens {name!r} cannot be told ({known}): say --at NAME; `onnx-ig inspect` "
            "lists the tensors"
        )
    return replace(options, at=places)
