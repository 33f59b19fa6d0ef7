"""Every rule, on the ONNX standard's node tests and on our own cases.

The gradient against central differences in float64.
"""

import pytest

from onnx_ig.autodiff.registry import lookup_name
from tests.cases import own_cases
from tools.judge import Case, judge
from tools.node_tests import operators_of, standard_cases

SHAPES = ("static", "symbolic")
# Standard cases whose derivative we decline to give, by the start of the name:
REFUSED = ("test_training_dropout",)  # a random mask: the gradient would be of another draw


def _covered(case: Case) -> bool:
    """Whether each operator of the case has an entry in the table (the others are refused: tested elsewhere)."""
    return all(lookup_name(domain, op_type) is not None for domain, op_type in operators_of(case))


STANDARD = [name for name, case in standard_cases().items() if _covered(case)]
OWN = own_cases()


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", STANDARD)
def test_standard_case(name: str, shapes: str) -> None:
    verdict = judge(standard_cases()[name], shapes=shapes)
    if name.startswith(REFUSED):
        assert verdict.outcome == "refused", verdict
        return
    assert verdict.outcome in ("right", "zero", "unjudged"), verdict.detail


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", list(OWN))
def test_own_case(name: str, shapes: str) -> None:
    verdict = judge(OWN[name], shapes=shapes)
    assert verdict.outcome in ("right", "zero"), verdict.detail
