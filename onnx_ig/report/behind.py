"""Which picture the map of a tensor inside the graph lies over: the file's own, or the input that holds pictures."""

from __future__ import annotations

from onnx_ig.data.pictures import Original, Picture
from onnx_ig.report.record import AttributionReport


def behind(report: AttributionReport, example: int) -> Original | None:
    """The picture that an example of tensors inside the graph is, where the model was given just one."""
    known = [picture.originals[example] for picture in report.pictures.values() if example < len(picture.originals)]
    return known[0] if len(known) == 1 else None


def fed_as_picture(report: AttributionReport) -> tuple[str, Picture] | None:
    """The input that holds pictures, where it is the only one, and not attributed itself; and how it holds them."""
    known = {
        name: report.pictures.get(name) or likely_picture(report.rows(v).shape) for name, v in report.inputs.items()
    }
    found = [(name, picture) for name, picture in known.items() if picture is not None]
    return found[0] if len(found) == 1 and found[0][0] not in report.attributions else None


def likely_picture(shape: tuple[int, ...]) -> Picture | None:
    """[N, C, H, W] or [N, H, W, C] with 1 or 3 channels; None of any other shape."""
    layouts = [layout for layout in ("NCHW", "NHWC") if len(shape) == 4 and shape[layout.index("C")] in (1, 3)]
    return Picture(layouts[0]) if layouts else None
