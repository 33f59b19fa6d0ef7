"""How report.html looks, and how its tables are sorted: style sheets and the one script.

The one idea: colours are named once for light and once for dark, and everything else takes them by these names.
"""

from __future__ import annotations

from onnx_ig.report import class_bars

_LIGHT = """color-scheme: light dark; --ink: #1a1a1a; --faint: #5f5f5f; --line: #d9d9d9; --paper: #fff;
  --soft: #f5f5f5; --positive: #b01c27; --negative: #1b5fa8; --bar: #dbe4f7; --below: #f6dcde;"""
_DARK = """--ink: #ececec; --faint: #a8a8a8; --line: #3d3d3d;
  --paper: #161616; --soft: #222; --positive: #ff8087; --negative: #7db8f5; --bar: #2b3a5c; --below: #55282c;"""
_CONTENT = """
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
.faint { color: var(--faint); margin: 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 45%), 1fr)); gap: .75rem 1.25rem;
  margin: 1.25rem 0; }
dt { color: var(--faint); font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: min(100%, 32rem); font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); font-size: .85rem; padding-bottom: .25rem; }
th, td { text-align: right; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.positive { color: var(--positive); }
.negative { color: var(--negative); }
img { display: block; box-sizing: border-box; max-width: 100%; height: auto; margin: .75rem 0;
  border: 1px solid var(--line); border-radius: 4px; }
.scroll > img { max-width: max(100%, 46rem); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .75rem; padding: 0; }
.gallery figure { margin: 0; }
.gallery img { margin: 0; width: 100%; }
.gallery figcaption { font-size: .85rem; overflow-wrap: anywhere; }
a { color: inherit; }
summary { cursor: pointer; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
.words { font-size: 1.15rem; line-height: 2; overflow-wrap: anywhere; }
.words span { padding: .15rem .2rem; border-radius: 3px; }
.warnings { background: var(--soft); border-left: 4px solid #d29a00; padding: .5rem 1rem; }
"""
STYLE = f""":root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
body {{ margin: 0 auto; max-width: 76rem; padding: 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }}
{_CONTENT}{class_bars.STYLE}"""
# Within a page of others: light, whatever the reader's system prefers, since that page need not follow it.
STYLE_WITHIN = f""".onnx-ig {{ {_LIGHT} color-scheme: light; background: var(--paper); color: var(--ink);
  padding: .5rem 1rem; {_CONTENT} }}"""
# Sorts a table by the column whose head is pressed: numbers as numbers, the rest as text. The page is whole without it.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const cell = (row) => row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [parseFloat(a), parseFloat(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
        return x - y;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(cell(a), cell(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}
"""
