"""Trains the digits network and writes everything in this folder: ``python models/digits_cnn/train.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder, not the root

from models.digits_cnn.model import digits_cnn
from models.training import accuracy, check, fit, make_repeatable, save

HERE = Path(__file__).resolve().parent
SHOWN_DIGIT = 7


def main() -> None:
    make_repeatable(seed=0)
    scans = load_digits()
    images = (scans.images[:, None] / 16).astype(np.float32)  # scanned as 17 grey levels, 0..16
    digits = scans.target
    train_images, test_images, train_labels, test_labels = (
        torch.from_numpy(part)
        for part in train_test_split(images, digits, test_size=0.2, stratify=digits, random_state=0)
    )

    network = digits_cnn()
    fit(network, train_images, train_labels, epochs=60, batch=64, learning_rate=5e-3, weight_decay=1e-2)
    save(network, (test_images[:2],), HERE / "digits_cnn", input_names=["image"])
    error = check(network, (test_images,), HERE / "digits_cnn.onnx")
    shown = save_example(network, test_images, test_labels)

    print(f"test accuracy   {accuracy(network, test_images, test_labels):.2%} of {len(test_labels)} digits")
    print(f"onnxruntime     logits within {error:.1e} of torch's, relative to the largest")
    print(f"example         test digit {shown}, a {SHOWN_DIGIT}")


def save_example(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Write the first test digit that is a 7 and read as one; returns its row among the test digits.

    ``seven.npy`` is the input itself, [1, 1, 8, 8]; ``seven.png`` the same as 8-bit grey levels, input × 255.
    """
    with torch.no_grad():
        read_right = network(images).argmax(dim=1) == labels
    row = int(torch.nonzero(read_right & (labels == SHOWN_DIGIT))[0])
    digit = images[row : row + 1].numpy()
    np.save(HERE / "seven.npy", digit)
    Image.fromarray(np.rint(digit[0, 0] * 255).astype(np.uint8)).save(HERE / "seven.png")
    return row


if __name__ == "__main__":
    main()
