"""Attributions of a picture from an exported model: one Run, no onnx_ig. Needs onnxruntime and numpy.

onnx-ig export digits.onnx -o model.onnx --target predicted
python attribute.py model.onnx picture.f32        (picture.f32: raw float32, row by row, as every client here reads)
"""

import sys

import numpy as np
import onnxruntime as ort

TOP = 5


def main(model: str, picture: str) -> None:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()  # baseline, path and target are baked in: the picture is the only input
    shape = [size if isinstance(size, int) else 1 for size in image.shape]
    pixels = np.fromfile(picture, np.float32).reshape(shape)
    names = [output.name for output in session.get_outputs()]
    result = dict(zip(names, session.run(names, {image.name: pixels}), strict=True))
    attribution = result[f"attribution_{image.name}"].ravel()
    if not np.isfinite(attribution).all():
        sys.exit("error: the attribution is not finite: the target or the input is not valid")
    print(
        f"target {result['target_used'][0]} score {result['score'][0]:.6g} delta {result['convergence_delta'][0]:.1e}"
    )
    for index in np.argsort(-np.abs(attribution), kind="stable")[:TOP]:
        print(f"{index} {attribution[index]:.6e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
