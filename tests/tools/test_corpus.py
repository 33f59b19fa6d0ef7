"""Real published models, fetched when the network allows: every gradient is right."""

import pytest

from tools import corpus


@pytest.mark.parametrize("entry", corpus.entries(), ids=lambda entry: entry.name)
def test_a_published_models_gradient_is_right(entry: corpus.Entry) -> None:
    try:
        path = corpus.fetch(entry)
    except OSError as error:
        pytest.skip(f"{entry.name} could not be fetched, so it was not checked: {error}")
    result = corpus.check(entry.name, path)
    assert result.outcome == "right", result


def test_every_model_of_the_table_has_inputs() -> None:
    assert {entry.name for entry in corpus.entries()} == set(corpus.INPUTS)
