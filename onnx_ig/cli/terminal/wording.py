"""Messages in the words of the command line: options where the same message names keywords to callers from Python."""

from __future__ import annotations

import re

# keyword and what may follow it → what the command line calls it; the first that fits is taken
_OPTIONS: tuple[tuple[str, str], ...] = (
    (r"\b[a-z_]+=[^\s();,]+ \((--[a-z-]+ [^\s()]+)\)", r"\1"),  # batch_axis=None (--batch-axis none)
    (r"\b[a-z_]+=\([^()]*\), (--[a-z-]+ [^\s()]+)", r"\1"),  # target=(0, 3), --target 0,3
    (r"\b[a-z_]+= \((--[a-z-]+)\)", r"\1"),  # target= (--target) 3
    (r"(--[a-z-]+(?: [A-Z]+=[A-Z]+)?) \([a-z_]+=[A-Za-z]*\)", r"\1"),  # --overwrite (overwrite=True)
    (r"\(-i, inputs=\)", "(-i)"),
    (r"\bbatch_axis=None\b", "--batch-axis none"),
    (r"\bbatch_axis=(\d)", r"--batch-axis \1"),
    (r"\bform='(\w+)'", r"--form \1"),
    (r"\bprovider='([\w-]+)'", r"--provider \1"),
    (r"\ballow_nonfinite=True\b", "--allow-nonfinite"),
    (r"\binternal_batch_size=(\d+)", r"--internal-batch-size \1"),
    (r"\bexample_inputs=(?=[\s:;,.)]|$)", "--example-input"),
    (r"\boutput=(?=[\s:;,.)]|$)", "--output"),
    (r"\binputs=(?=[\s:;,.)]|$)", "-i NAME=FILE (--input NAME in export)"),
    (r"\btarget=(?=[\s:;,.)]|$)", "--target"),
    (r"\bbaselines=(?=[\s:;,.)]|$)", "--baseline"),
    (r"\bsteps_per_run\b", "--steps-per-run"),
    (r"\bper_example\b", "--per-example"),
    (r"\bn_steps\b", "--n-steps"),
)


def in_options(message: str) -> str:
    """``message`` with options in place of keywords; what names the option besides loses the keyword."""
    for pattern, option in _OPTIONS:
        message = re.sub(pattern, option, message)
    return message
