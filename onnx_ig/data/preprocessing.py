"""How a model's own pipeline prepares pictures, by the name of a usual one or from its preprocessor_config.json.

The one idea: what the file says is turned into the same options that can be given one by one; what it says and these
cannot do is refused, since a model that is fed otherwise explains something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx_ig.data.pictures import PictureOptions, Resampling
from onnx_ig.errors import InputError, UsageError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PRESETS = {
    # torchvision's ImageClassification: the shorter side 256, the middle 224, mean and deviation of ImageNet
    "imagenet": PictureOptions(IMAGENET_MEAN, IMAGENET_STD, size=(224, 224), shorter=256),
    # Keras' and Inception's: from −1 to 1
    "inception": PictureOptions((0.5,), (0.5,)),
    # Caffe's and OpenCV's: 0..255 in the order BGR, without the mean of ImageNet
    "caffe": PictureOptions((103.939, 116.779, 123.68), size=(224, 224), shorter=256, channels="BGR", scale=255.0),
}
# PIL's numbers, which such files hold
_BY_NUMBER: dict[int, Resampling] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def preprocessing(text: str) -> PictureOptions:
    """The options called ``text``: a preset, a preprocessor_config.json, or the folder that holds one.

    Raises:
        UsageError: neither; InputError: a file that says something else.
    """
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text)
    path = path / "preprocessor_config.json" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(
            f"--preprocess {text}: neither a file nor one of {', '.join(PRESETS)}; give a model's "
            "preprocessor_config.json, or its parts (--mean, --std, --size, --resize-shorter)"
        )
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object with image_mean, image_std and size")
    return _from_config(content, path)


def _from_config(content: Mapping[str, Any], path: Path) -> PictureOptions:
    try:
        factor = float(content.get("rescale_factor", 1 / 255)) if content.get("do_rescale", True) else 1.0
        options = PictureOptions(scale=round(255 * factor, 6))
        if content.get("do_normalize", True):
            options = replace(options, mean=_numbers(content["image_mean"]), std=_numbers(content["image_std"]))
        if content.get("do_resize", True):
            options = _resized(options, content, path)
        if content.get("do_center_crop", False):
            crop = _size(content["crop_size"])
            if crop is None:
                raise InputError(f"{path}: crop_size {content['crop_size']} has no height and width")
            options = replace(options, size=crop)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not the form of a preprocessor_config.json: {error!r}") from error
    return options


def _resized(options: PictureOptions, content: Mapping[str, Any], path: Path) -> PictureOptions:
    size = content["size"]
    method = content.get("resample", 2)
    if method not in _BY_NUMBER:
        raise InputError(f"{path}: resample {method} is none of {_BY_NUMBER}; resize the pictures yourself")
    options = replace(options, resampling=_BY_NUMBER[method])
    if (whole := _size(size)) is not None and not (isinstance(size, int) and content.get("do_center_crop")):
        return replace(options, size=whole)
    shorter = size if isinstance(size, int) else size.get("shortest_edge")
    if not isinstance(shorter, int):
        raise InputError(f"{path}: size {size} has neither height and width nor shortest_edge")
    pct = content.get("crop_pct")
    if pct is not None and not content.get("do_center_crop"):  # ConvNeXt: the shorter side 256 of which 224 is taken
        return replace(options, shorter=int(shorter / pct), size=(shorter, shorter))
    return replace(options, shorter=shorter)


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(float(number) for number in value) if isinstance(value, list) else (float(value),)


def _size(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    found = value.get("height"), value.get("width")
    return None if None in found else (int(found[0]), int(found[1]))
