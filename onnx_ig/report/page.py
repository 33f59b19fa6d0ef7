"""report.html: one page that needs no network, whole without its script, readable on a phone and read aloud.

The one idea: a reader begins with all examples together and looks at a few; so the page holds a summary and the first
ones, and names the files that hold the rest.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from onnx_ig.report import class_bars
from onnx_ig.report.illustrate import Illustration
from onnx_ig.report.page_look import SCRIPT, STYLE, STYLE_WITHIN

SECTIONS, ROWS, ROWS_WITHIN = 16, 100, 5  # examples shown one by one; lines of scores, and within another page
_LEAST_IN_GALLERY = 3
_MOST_BYTES = 3_000_000  # of drawings within the page; in base64 a third more


def page(document: dict[str, Any], drawn: Sequence[Illustration]) -> str:
    """The HTML of a report from its JSON document and drawings, at most 5 MB of it."""
    model, examples = document["model"], document["examples"]
    targets = document["targets"]
    inside, shown = _within_the_page(drawn), _sections(len(examples), drawn, targets)
    facts = {
        "examples": document["summary"]["examples"],
        "algorithm": document["algorithm"],
        "method": document["method"],
        "path points": document["n_steps"],
        "tolerance": document["tolerance"],
        "provider": document["provider"],
        "exported by": model["exporter"],
        "straight-through gradient": ", ".join(f"{n} {name}" for name, n in document["straight_through"].items())
        or None,
        "attributed": ", ".join(f"{name} {tensor['shape']}" for name, tensor in document["tensors"].items()),
        **{
            f"{phase} (seconds)": f"{seconds:.3g}"
            for phase, seconds in document["seconds"].items()
            if seconds is not None
        },
    }
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'; script-src 'sha256-{_hash(SCRIPT)}'\">",
        f"<title>Attributions of {escape(model['file'])}</title>",
        f"<style>{STYLE}{class_bars.style_of_choice(targets)}</style></head><body><main>",
        f"<h1>Attributions of {escape(model['file'])}</h1>",
        f'<p class="faint">SHA-256 {escape(model["sha256"])}</p>' if model["sha256"] else "",
        "<dl>",
        *(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items() if v is not None),
        "</dl>",
        _warnings(document["warnings"]),
        _overview(document["summary"]),
        *(_image(one, inside) for one in drawn if one.example is None),
        _gallery(drawn, shown, targets),
        "<h2>Scores</h2>",
        _scores(examples[: ROWS // targets * targets], sortable=True),
        _rest(document["summary"]["examples"], targets, document["files"]),
    ]
    count = document["summary"]["examples"] * targets
    single = {name for name, tensor in document["tensors"].items() if math.prod(tensor["shape"]) == count}
    several = len(document["tensors"]) > 1
    sections = []
    for index, example in enumerate(examples[:shown]):
        own = [one for one in drawn if one.example == index]
        features = _features(example["top_features"], several, single)
        sections.append(_section(index, example, own, inside, features, with_score=targets > 1))
    for first in range(0, shown, targets):
        titles = [_target(example) for example in examples[first : first + targets]]
        parts.append(class_bars.choice(first // targets, titles, sections[first : first + targets]))
    parts.append(_further_texts(examples[shown:ROWS]))
    parts.append(f"</main><script>{SCRIPT}</script></body></html>\n")
    return "\n".join(part for part in parts if part)


def most_sections(drawn: int) -> int:
    """How many examples have a section at most, where ``drawn`` of them are drawn."""
    return max(SECTIONS, min(drawn, ROWS))


def _section(
    index: int,
    example: dict[str, Any],
    own: Sequence[Illustration],
    inside: Mapping[str, str],
    features: str,
    *,
    with_score: bool,
) -> str:
    """What is shown of one target of one example: its classes, its ``own`` drawings, its text, ``features``."""
    title = f"Example {escape(_called(example))}: target {escape(_target(example))}"
    title += f", F(x) = {_shown(example['score'])}" if with_score else ""
    words = example.get("words", [])
    # no pixel, and no number of a word's embedding, is read as one
    seen = bool(words) or any(one.small for one in own)
    parts = [
        f'<section id="example-{index}"><h2>{title}</h2>',
        class_bars.bars(example),
        *(_image(one, inside) for one in own),
        _text(words),
        f"<details><summary>Largest attributions</summary>{features}</details>" if seen else features,
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def fragment(document: dict[str, Any], drawn: Sequence[Illustration]) -> str:
    """HTML of a few lines for a page of others, such as a notebook: what was computed, how exactly, and ``drawn``."""
    inside = _within_the_page(drawn)
    count = document["summary"]["examples"]
    examples = f"{count} example" + "s" * (count != 1)
    facts = f"{document['algorithm']} of {document['model']['file']}, {examples}, {document['provider']}"
    further = f'<p class="faint">… and {count - ROWS_WITHIN} more.</p>' if count > ROWS_WITHIN else ""
    words = [_text(example.get("words", [])) for example in document["examples"][:ROWS_WITHIN]]
    parts = [
        f'<div class="onnx-ig"><style>{STYLE_WITHIN}</style><p class="faint">{escape(facts)}</p>',
        _warnings(document["warnings"]),
        *(_image(one, inside) for one in drawn),
        *words,
        _scores(document["examples"][:ROWS_WITHIN]),
        further,
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def _within_the_page(drawn: Sequence[Illustration]) -> dict[str, str]:
    """The addresses of drawings that the page holds: as many as fit, summaries first; the others lie beside it."""
    inside, size = {}, sum(len(one.small) for one in drawn)
    for one in sorted(drawn, key=lambda one: one.example is not None):
        kind, data = one.embedded()
        size += len(data)
        if size <= _MOST_BYTES:
            inside[one.file] = _address(kind, data)
    return inside


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _gallery(drawn: Sequence[Illustration], sections: int, targets: int) -> str:
    """All pictures at a glance, each a link to its section, or the choice that it is in, or else to its file."""
    small = [one for one in drawn if one.small]
    if len(small) < _LEAST_IN_GALLERY:
        return ""
    figures = []
    for one in small:
        place = one.file
        if one.example is not None and one.example < sections:
            place = f"#example-{one.example}" if targets == 1 else f"#choice-{one.example // targets}"
        image = f'<img src="{_address("webp", one.small)}" alt="">'
        figures.append(
            f'<figure><a href="{escape(place)}">{image}<figcaption>{escape(one.caption)}</figcaption></a></figure>'
        )
    return f'<h2>Gallery</h2><div class="gallery">{"".join(figures)}</div>'


def _overview(summary: dict[str, Any]) -> str:
    """What several examples have in common: which targets, and how exact the attributions are; nothing of one alone."""
    if summary["examples"] < 2:
        return ""
    parts = ["<h2>All examples</h2>"]
    delta = summary["relative_convergence_delta"]
    if delta is not None:
        parts.append(
            f"<p>Half of the examples have a convergence delta of at most {100 * delta['median']:.3g} % of "
            f"F(x) − F(x′); the largest is {100 * delta['largest']:.3g} %, of example {delta['example']}.</p>"
        )
    rows = [[escape(_target(one)), str(one["examples"])] for one in summary["targets"]]
    parts.append(_table("Targets, the most frequent first.", ["target", "examples"], rows) if rows else "")
    return "\n".join(parts)


def _rest(examples: int, targets: int, files: Iterable[str]) -> str:
    """Where the examples are that have no line."""
    shown = ROWS // targets
    if examples <= shown:
        return ""
    data = " and ".join(name for name in files if name.startswith("attributions."))
    return f'<p class="faint">The first {shown} of {examples} examples; {escape(data)} beside this page hold all.</p>'


def _scores(examples: Iterable[dict[str, Any]], *, sortable: bool = False) -> str:
    keys = {
        "score": "score F(x)",
        "baseline_score": "baseline score F(x′)",
        "convergence_delta": "convergence delta",
        "relative_convergence_delta": "|delta| / |F(x) − F(x′)|",
    }
    examples = list(examples)
    further = {"error_estimate": "estimated error", "steps_used": "steps"}
    keys |= {key: title for key, title in further.items() if any(example[key] is not None for example in examples)}
    in_percent = ("relative_convergence_delta", "error_estimate")
    rows = [
        [_called(one), _target(one), *((_percent if key in in_percent else _shown)(one[key]) for key in keys)]
        for one in examples
    ]
    caption = "The convergence delta is Σ attributions − (F(x) − F(x′)); the nearer to zero, the better."
    cells = [[escape(cell) for cell in row] for row in rows]
    return _table(caption, ["example", "target", *keys.values()], cells, sortable=sortable)


def _sections(lines: int, drawn: Sequence[Illustration], targets: int) -> int:
    """How many lines have a section: the first 16 and, of up to 100, all drawn ones; each example has all or none."""
    last = max((1 + one.example for one in drawn if one.example is not None), default=0)
    wanted = max(SECTIONS, last) if lines <= ROWS else SECTIONS
    return min(lines, -(-wanted // targets) * targets)


def _further_texts(examples: Sequence[dict[str, Any]]) -> str:
    """The texts that have no section, a line each."""
    lines = [
        f'<p class="words"><small>{escape(_called(example))}: {escape(_target(example))}</small> '
        f"{_coloured(example['words'])}</p>"
        for example in examples
        if example.get("words")
    ]
    return "\n".join(["<h2>Further texts</h2>", *lines]) if lines else ""


def _text(words: Sequence[tuple[str, float | None]]) -> str:
    return f'<p class="words">{_coloured(words)}</p>' if words else ""


def _coloured(words: Sequence[tuple[str, float | None]]) -> str:
    """The words in their order, each in the colour of its attribution."""
    limit = max((abs(value) for _, value in words if value is not None), default=0) or 1
    spans = []
    for word, value in words:
        colour = "176, 28, 39" if (value or 0) > 0 else "27, 95, 168"
        style = f"background: rgba({colour}, {0.65 * abs(value or 0) / limit:.2f})"
        spans.append(f'<span style="{style}" title="{_shown(value)}">{escape(word)}</span>')
    return " ".join(spans)


def _features(features: Sequence[dict[str, Any]], several: bool, single: Collection[str]) -> str:
    """``single``: the tensors with one entry per example, which need no index."""
    rows = []
    for feature in features:
        place = "[" + ", ".join(str(i) for i in feature["index"]) + "]"
        label = f"{feature['name']} {place}" if feature["name"] is not None else place
        if feature["tensor"] in single and (several or feature["name"] is None):
            label = feature["tensor"]
        elif several:
            label = f"{feature['tensor']}: {label}"
        attribution = feature["attribution"]
        sign = "positive" if attribution > 0 else "negative" if attribution < 0 else "zero"
        rows.append([escape(label), _shown(feature["value"]), f'<span class="{sign}">{attribution:+.4g}</span>'])
    caption = "Largest attributions by magnitude: positive ones raise the target's score, negative ones lower it."
    return _table(caption, ["feature", "value", "attribution"], rows)


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, sortable: bool = False) -> str:
    """``rows`` hold HTML, ``caption`` and ``head`` text."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table{kind}>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _image(one: Illustration, inside: Mapping[str, str]) -> str:
    """A drawing; on a narrow screen it keeps a size at which its words are read, and is moved under the finger."""
    if one.file not in inside:
        return f'<p><a href="{escape(one.file)}">{escape(one.file)}</a>: {escape(one.alt)}</p>'
    image = f'<img src="{inside[one.file]}" alt="{escape(one.alt)}">'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Drawing">{image}</div>'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" aria-label="Warnings"><ul>{items}</ul></section>'


def _called(example: dict[str, Any]) -> str:
    number, name = example["example"], example["name"]
    return str(number) if name is None else f"{number} ({name})"


def _target(example: dict[str, Any]) -> str:
    target = example["target"]
    if target is None:
        return "none"
    text = ", ".join(str(index) for index in target) if isinstance(target, list) else str(target)
    return f"{text} ({example['target_name']})" if example["target_name"] is not None else text


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.3g} %"


def _shown(number: float | None) -> str:
    return "—" if number is None else f"{number:.4g}"
