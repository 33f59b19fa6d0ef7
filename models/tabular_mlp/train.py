"""Trains the tabular network and writes everything in this folder: ``python models/tabular_mlp/train.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder, not the root

from models.tabular_mlp.model import tabular_mlp
from models.training import accuracy, check, fit, make_repeatable, save

HERE = Path(__file__).resolve().parent
MALIGNANT = 0


def main() -> None:
    make_repeatable(seed=0)
    table = load_breast_cancer()
    rows, classes = table.data.astype(np.float32), table.target
    train_rows, test_rows, train_labels, test_labels = (
        torch.from_numpy(part)
        for part in train_test_split(rows, classes, test_size=0.25, stratify=classes, random_state=0)
    )

    network = tabular_mlp()
    network.standardise_by(train_rows)
    fit(network, train_rows, train_labels, epochs=15, batch=32, learning_rate=1e-2, weight_decay=1e-2)
    save(network, (test_rows[:2],), HERE / "tabular_mlp", input_names=["features"])
    error = check(network, (test_rows,), HERE / "tabular_mlp.onnx")
    shown = save_example(network, test_rows, test_labels)
    names = {"features": table.feature_names.tolist(), "classes": table.target_names.tolist()}
    (HERE / "names.json").write_text(json.dumps(names, indent=2) + "\n")

    print(f"test accuracy   {accuracy(network, test_rows, test_labels):.2%} of {len(test_labels)} rows")
    print(f"onnxruntime     logits within {error:.1e} of torch's, relative to the largest")
    print(f"example         test row {shown}, malignant")


def save_example(network: torch.nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> int:
    """Write the first malignant test row that is read as such, ``malignant.npy`` [1, 30]; returns its row."""
    with torch.no_grad():
        read_right = network(rows).argmax(dim=1) == labels
    row = int(torch.nonzero(read_right & (labels == MALIGNANT))[0])
    np.save(HERE / "malignant.npy", rows[row : row + 1].numpy())
    return row


if __name__ == "__main__":
    main()
