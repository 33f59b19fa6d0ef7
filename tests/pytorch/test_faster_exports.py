"""What stands in the place of torch's and onnxscript's own functions while a model is exported changes no model."""

from __future__ import annotations

from unittest import mock

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from onnx_ig.pytorch import exporters, quiet  # the exporters put in place what is tested


class _Pictures(nn.Module):
    """Of operators that rules of one and of several nodes rewrite: pads, clips, casts, transposes, broadcasts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(nn.functional.pad(x, (1, 1, 1, 1)))).clamp(-1, 6).relu()
        x = x.transpose(1, 2).transpose(1, 2).flatten(2).float() * 1.0 + 0.0
        return (x @ x.mT)[:, 1:][:, :2].reshape(len(x), -1)


class _Types(nn.Module):
    """Whole numbers, truth values, sizes and halves meet floats, in elementwise operators and in lists."""

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        y = (x > 0) * x + places * x / 2 + (3 * x).round().long() * 0.5 + torch.where(x > 1, 1, 0)
        y = torch.cat([y, (places + 1).expand(len(x), -1).float()], 1).sum(1) + x.sum(1) / x.shape[0]
        y = y + (x.half() * 2.0).float().sum(1) + torch.pow(2, x).sum(1) + (x.long() // 2 % 3).sum(1)
        return y[:, None] * torch.ones(2, dtype=torch.float64)


class _Branches(nn.Module):
    """Graphs within the graph."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.cond(x.sum() > 0, lambda x: x * 2 + 1, lambda x: x / 3, (x,))
        return found


_CASES: list[tuple[str, nn.Module, Tensor]] = [
    ("match", _Pictures(), torch.randn(2, 3, 8, 8)),
    ("run_node", _Types(), torch.randn(3, 4)),
    ("run_node", _Branches(), torch.randn(3, 4)),
]


def _exported(module: nn.Module, example: Tensor) -> ir.Model:
    with quiet.exporting():
        axes = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            opset_version=exporters.OPSET,
            dynamic_shapes=axes,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # addresses among them
        for value in node.outputs:
            value.metadata_props.clear()
    return program.model


@pytest.mark.parametrize(("name", "module", "example"), _CASES)
def test_the_model_is_the_same(name: str, module: nn.Module, example: Tensor) -> None:
    ours = _exported(module, example)
    others = [changed for changed in quiet._CHANGED if changed[1] != name]
    assert len(others) == len(quiet._CHANGED) - 1
    with mock.patch.object(quiet, "_CHANGED", others):
        theirs = _exported(module, example)
    assert ir.to_proto(ours) == ir.to_proto(theirs)
