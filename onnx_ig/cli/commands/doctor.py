"""``onnx-ig doctor``: what of this installation works, and what to do about the rest."""

from __future__ import annotations

import click

from onnx_ig.cli.options import shared


@click.command(short_help="What works here, what is missing, how to mend it.")
@shared.as_json
@shared.everywhere
def doctor(as_json: bool) -> None:
    """Show versions, providers and the machine; what is missing and the pip line that installs it.

    Each provider computes attributions whose values are known. Exit code 5 where none does.

    \b
    Examples:
      onnx-ig doctor
      onnx-ig doctor --json
    """
    from onnx_ig.checking.installation import PURPOSES, examine
    from onnx_ig.cli.terminal.display import print_table, to_json
    from onnx_ig.errors import ProviderError

    found = examine()
    if as_json:
        click.echo(to_json(found.to_dict()))
    else:
        click.echo(", ".join(f"{name} {version}" for name, version in found.versions.items()))
        memory = [_gigabytes(n, what) for n, what in ((found.memory_bytes, ""), (found.free_memory_bytes, " free"))]
        click.echo(", ".join(filter(None, [f"{found.cores} processor cores", *memory])))
        print_table(
            ["package", "version", "wanted", "for", "state"],
            [[p.name, p.version or "", p.wanted, PURPOSES[p.extra], p.state] for p in found.packages],
        )
        trials = [*found.providers, *found.runtimes]
        print_table(["runs", "works", ""], [[t.name, "yes" if t.works else "no", t.said] for t in trials])
        for problem in found.problems:
            click.echo(f"problem: {problem}")
        for remedy in found.remedies:
            click.echo(f"to install what is missing: {remedy}")
    if not found.works:
        raise ProviderError("no provider can run a model here; what is missing is listed above")


def _gigabytes(size: int | None, what: str) -> str:
    return "" if size is None else f"{size / 2**30:.1f} GiB of memory{what}"
