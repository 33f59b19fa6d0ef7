"""The group of commands, and how every one of them ends: one message, one exit code."""

from __future__ import annotations

import gc
import sys
from typing import Any, NoReturn

import click

from onnx_ig.cli.commands.attribute import attribute
from onnx_ig.cli.commands.bench import bench
from onnx_ig.cli.commands.completion import completion
from onnx_ig.cli.commands.conform import conform
from onnx_ig.cli.commands.doctor import doctor
from onnx_ig.cli.commands.export import export
from onnx_ig.cli.commands.inspect import inspect
from onnx_ig.cli.commands.verify import verify
from onnx_ig.cli.commands.web import web
from onnx_ig.cli.terminal.ending import Ending
from onnx_ig.common.suggestions import nearest


class Commands(click.Group):
    """A group whose errors leave as one line on stderr and the exit code that belongs to them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would answer Ctrl-C with an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.Abort from interrupt

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; a name that is none ends with the one that is meant."""
        found = super().get_command(ctx, cmd_name)
        if found is None and (close := nearest(cmd_name, self.commands)):
            raise click.UsageError(f"no such command {cmd_name!r}{close}", ctx)
        return found

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run, report, exit."""
        ending = Ending()
        kwargs.update(standalone_mode=False, obj=ending)
        with ending.warnings_shown():
            try:
                result = super().main(*args, **kwargs)
                code = result if isinstance(result, int) else 0
            except BaseException as error:
                code = ending.report(error)
        sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onnx-ig", prog_name="onnx-ig")
def app() -> None:
    """Input×Gradient and Integrated Gradients for deployed neural networks.

    Attributions say how much each input element contributed to one output of a model. The gradient computation is added
    to the ONNX graph in standard operators, so the result runs in any ONNX runtime.

    \b
    Examples:
      onnx-ig inspect model.onnx
      onnx-ig attribute model.onnx -i picture.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o report
      onnx-ig export model.onnx -o explained.onnx
      onnx-ig conform explained.onnx --runtime openvino
      onnx-ig web digits.onnx -o page
      onnx-ig bench model.onnx
      onnx-ig doctor
      onnx-ig verify package.module:factory --weights weights.safetensors --example-input 1x3x224x224

    \b
    Exit codes: 0 done; 2 usage or missing file; 3 model unreadable, unsafe or not differentiable; 4 input, baseline or
    target; 5 provider; 6 memory; 7 tolerance not reached; 8 verification failed; 130 interrupted; 1 anything else.
    """


for command in (attribute, bench, completion, conform, doctor, export, inspect, verify, web):
    app.add_command(command)


# Objects, after which Python looks for unreachable ones; it would do so 700 by 700 while hundreds of modules are
# imported and none goes: half a second of a short command.
_SEARCHES_AFTER = 100_000


def main() -> None:
    """The entry point."""
    gc.set_threshold(_SEARCHES_AFTER, *gc.get_threshold()[1:])
    try:
        app(prog_name="onnx-ig")
    finally:
        gc.freeze()  # or the interpreter looks through all that was imported once more before it ends: 0.3 s
