"""The rewrite rules that exports apply make of a graph what they make of it outside of exports."""

from __future__ import annotations

import onnx_ir as ir
import onnxscript.optimizer
import torch
from torch import Tensor, nn

import onnx_ig.pytorch.rewrite_rules  # noqa: F401  (it puts the rules in their place)
from onnx_ig.pytorch.quiet import exporting


class _Net(nn.Module):
    """Of operators that rules of one and of several nodes rewrite: pads, clips, casts, transposes, broadcasts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(nn.functional.pad(x, (1, 1, 1, 1)))).clamp(-1, 6).relu()
        x = x.transpose(1, 2).transpose(1, 2).flatten(2).float() * 1.0 + 0.0
        return (x @ x.mT)[:, 1:][:, :2].reshape(len(x), -1)


def test_rules_look_at_nodes_of_their_operator_alone() -> None:
    axes = {"x": {0: torch.export.Dim("batch")}}
    with exporting():
        program = torch.onnx.export(
            _Net().eval(), (torch.randn(2, 3, 8, 8),), dynamo=True, dynamic_shapes=axes, optimize=False, verbose=False
        )
    assert program is not None
    models = [program.model.clone(), program.model.clone()]
    onnxscript.optimizer.optimize_ir(models[0])
    with exporting():
        onnxscript.optimizer.optimize_ir(models[1])
    assert len(models[0].graph) < len(program.model.graph)
    assert ir.to_proto(models[0]) == ir.to_proto(models[1])
