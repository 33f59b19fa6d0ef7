"""``onnx-ig completion``: what a shell reads to complete commands, options, choices and file names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from onnx_ig.cli.options import shared


@click.command(short_help="Print what a shell completes commands by.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@shared.everywhere
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for SHELL that completes commands, options, choices and file names.

    \b
    Examples:
      eval "$(onnx-ig completion bash)"                                      # in ~/.bashrc
      eval "$(onnx-ig completion zsh)"                                       # in ~/.zshrc
      onnx-ig completion fish > ~/.config/fish/completions/onnx-ig.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    group = context.find_root()
    click.echo(found(group.command, {}, "onnx-ig", "_ONNX_IG_COMPLETE").source())
