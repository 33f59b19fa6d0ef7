"""The strongest classes of an example as bars, and the choice between its targets, in HTML that needs no script.

The one idea: what is hidden is hidden by a rule on the button that is checked; a reader without such rules sees all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_TITLES = {
    "probability": "The strongest classes, by probability",
    "softmax": "The strongest classes, by softmax of the output",
    "sigmoid": "The strongest classes, by sigmoid of the output",
    "value": "The largest outputs, as they are",
}
STYLE = """
.classes { list-style: none; margin: .25rem 0 1rem; padding: 0; display: grid; gap: .25rem; max-width: 30rem;
  grid-template-columns: minmax(0, 1fr); }
.classes li { display: flex; justify-content: space-between; gap: 1rem; padding: .3rem .6rem; border-radius: 6px;
  border: 1px solid var(--line); font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
  background: linear-gradient(var(--bar) 0 0) no-repeat 0 / var(--share) 100%; }
.classes li.below { background-image: linear-gradient(var(--below) 0 0); }
.classes li span:last-child { white-space: nowrap; }
.classes li[aria-current] { border-color: var(--ink); font-weight: 700; }
.choice { margin-top: 2rem; }
.choice > p { margin: 0 0 .25rem; }
.choice > input { position: absolute; opacity: 0; }
.choice > label { display: inline-block; box-sizing: border-box; max-width: 100%; margin: 0 .25rem .25rem 0;
  padding: .3rem .8rem; border: 1px solid var(--line); border-radius: 6px; cursor: pointer; overflow-wrap: anywhere; }
.choice > input:checked + label { border-color: var(--ink); background: var(--bar); font-weight: 700; }
.choice > input:focus-visible + label { outline: 2px solid; outline-offset: 2px; }
.choice > section > h2 { margin-top: .5rem; }
"""


def style_of_choice(targets: int) -> str:
    """The rules that show, on a screen, the section alone whose button is checked, of ``targets`` in a choice."""
    hide = "\n".join(
        f".choice > input:nth-of-type({k}):checked ~ section:not(:nth-of-type({k})) {{ display: none; }}"
        for k in range(1, targets + 1)
    )
    return f"@media screen {{\n{hide}\n}}\n" if targets > 1 else ""


def bars(example: Mapping[str, Any]) -> str:
    """The ``classes`` of an entry of report.json, the attributed one marked; nothing where it has none."""
    found = example.get("classes")
    if not found or not found["strongest"]:
        return ""
    title, strongest = _TITLES[found["share"]], found["strongest"]
    longest = max(abs(one["share"]) for one in strongest) if found["share"] == "value" else None
    items = "".join(_bar(one, longest, attributed=one["class"] == example["target"]) for one in strongest)
    why = f" ({escape(found['why'])})" if found["why"] else ""
    return f'<p class="faint">{title}{why}</p><ol class="classes" aria-label="{title}">{items}</ol>'


def choice(number: int, titles: Sequence[str], sections: Sequence[str]) -> str:
    """The ``sections`` of one example's targets, one of them shown; ``titles``: text, as each is called.

    ``number``: that no other choice of the page has.
    """
    if len(sections) == 1:
        return sections[0]
    buttons = "".join(
        f'<input type="radio" name="choice-{number}" id="choice-{number}-{k}"{" checked" * (k == 0)}>'
        f'<label for="choice-{number}-{k}">{escape(title)}</label>'
        for k, title in enumerate(titles)
    )
    return (
        f'<div class="choice" id="choice-{number}" role="group" aria-labelledby="choice-{number}-of">'
        f'<p class="faint" id="choice-{number}-of">Example {number}: attributions of the target</p>'
        f"{buttons}{''.join(sections)}</div>"
    )


def _bar(one: Mapping[str, Any], longest: float | None, *, attributed: bool) -> str:
    """``longest``: the number that has a whole bar; None: the numbers are shares, which are shown in per cent."""
    percent = f"{100 * abs(one['share']) / (longest or 1.0):.1f}"
    number = f"{percent} %" if longest is None else f"{one['share']:.4g}"
    name = str(one["class"]) if one["name"] is None else f"{one['class']} ({one['name']})"
    current, said = (' aria-current="true"', " – attributed") if attributed else ("", "")
    below = ' class="below"' if one["share"] < 0 else ""
    return (
        f'<li style="--share: {percent}%"{below}{current}><span>{escape(name)}{said}</span><span>{number}</span></li>'
    )
