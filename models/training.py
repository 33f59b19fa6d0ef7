"""What the training scripts share: a seeded fit, the export, and the check of the export against torch.

The one idea: everything random hangs on one seed and one thread, so a second run gives the same network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

OPSET = 18
TOLERANCE = 1e-5  # largest error of the exported logits, relative to the largest logit


def make_repeatable(seed: int) -> None:
    """Fix torch's random numbers and the order of its sums; call before the network is made."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def fit(
    network: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """Minimise the cross-entropy with AdamW on a one-cycle schedule; ``network`` ends in evaluation mode."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    steps = epochs * -(-len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()
    network.eval()


def accuracy(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of rows whose largest logit is the label's."""
    with torch.no_grad():
        return float((network(inputs).argmax(dim=1) == labels).float().mean())


def save(
    network: nn.Module,
    example: tuple[torch.Tensor, ...],
    stem: Path,
    *,
    input_names: list[str],
    axes: tuple[str, ...] = ("batch",),
) -> None:
    """Write ``stem``.safetensors (the state dict) and ``stem``.onnx (inputs -> logits).

    ``axes``: those of each input that may have any size, from the first on.
    """
    dims = [torch.export.Dim(name) for name in axes]
    save_file(network.state_dict(), stem.with_suffix(".safetensors"))
    program = torch.onnx.export(
        network,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=input_names,
        output_names=["logits"],
        dynamic_shapes=tuple(dict(enumerate(dims)) for _ in example),
        verbose=False,
    )
    assert program is not None  # None only for the TorchScript exporter
    _forget_origin(program.model)
    onnx_ir.save(program.model, stem.with_suffix(".onnx"))


def _forget_origin(model: onnx_ir.Model) -> None:
    """Remove the stack traces torch leaves on every node: they hold paths of the machine that exported."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


def check(network: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> float:
    """Largest difference of ONNX Runtime's logits from torch's over the largest; exits above TOLERANCE."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {feed.name: value.numpy() for feed, value in zip(session.get_inputs(), inputs, strict=True)}
    ours: NDArray[np.float32] = session.run(["logits"], feeds)[0]
    with torch.no_grad():
        reference = network(*inputs).numpy()
    error = float(np.abs(ours - reference).max() / np.abs(reference).max())
    if not error <= TOLERANCE:
        raise SystemExit(f"{path}: logits differ from torch by {error:.1e} of the largest, more than {TOLERANCE:.0e}")
    return error
