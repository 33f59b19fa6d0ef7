"""``onnx-ig web``: a static page that explains pictures in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onnx_ig.cli.options import picture, shared
from onnx_ig.cli.options.file_names import FILE_NAME
from onnx_ig.errors import UsageError

if TYPE_CHECKING:
    from onnx_ig.data import PictureOptions


@click.command(short_help="Write a page that explains pictures in the browser.")
@click.argument("model", type=FILE_NAME)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the page goes.")
@shared.output_name
@click.option("--baseline", type=float, help="Where the path begins: a number. [default: 0]")
@picture.pictures(prepared=False)
@shared.names
@shared.weights
@shared.example_input
@shared.overwrite
@shared.as_json
@shared.everywhere
def web(
    model: str,
    out: Path,
    output: str | None,
    baseline: float | None,
    pictures: PictureOptions,
    names: Path | None,
    weights: Path | None,
    examples: Sequence[str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a web page to DIR that explains what a classifier of pictures, MODEL, makes of a picture or a drawing.

    MODEL is an .onnx file (an ordinary model, or an attribution model exported with --path-as-input), a .pt2 file, or
    package.module:factory with --weights and --example-input. Everything is computed in the browser; any static file
    server can serve DIR. Writing it takes the npm package
    onnxruntime-web: npm install onnxruntime-web.

    \b
    Examples:
      onnx-ig web digits.onnx -o page && python -m http.server --directory page
      onnx-ig web squeezenet.onnx -o page --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --names imagenet.json
    """
    from onnx_ig.cli.reading.names import read_names
    from onnx_ig.cli.reading.sources import files_in, open_model
    from onnx_ig.cli.terminal.display import to_json
    from onnx_ig.cli.terminal.obstacles import obstacles_named
    from onnx_ig.inspection import contract_of
    from onnx_ig.web import require_place_for_site, write_site

    sources = files_in(model, names, weights, *examples)
    require_place_for_site(out, sources, overwrite=overwrite)
    classes = read_names(names).classes
    loaded, _ = open_model(model, weights, examples)
    if contract_of(loaded) is not None and (output is not None or baseline is not None):
        raise UsageError("--output and --baseline are baked into an attribution model: leave them out")
    with obstacles_named(loaded):
        files = write_site(
            out, loaded, pictures=pictures, classes=classes, output=output, baseline=baseline or 0, overwrite=overwrite,
            sources=sources,
        )  # fmt: skip
    if as_json:
        click.echo(to_json({"directory": str(out), "files": sorted(str(file.relative_to(out)) for file in files)}))
        return
    size_in_mb = sum(file.stat().st_size for file in files) / 1e6
    click.echo(f"wrote {len(files)} files ({size_in_mb:.1f} MB) to {out}")
    click.echo(f"serve them: python -m http.server --directory {out}")
