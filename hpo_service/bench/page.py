"""Comparisons as one HTML page with their pictures and tables, which needs nothing else. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hpo_service.bench import pictures, tables
from hpo_service.bench.runs import Run
from hpo_service.bench.statistics import Group, Row

STYLE = """
:root { color-scheme: light dark; --ink: #17202c; --quiet: #56606f; --line: #dfe4ea; --paper: #fff; --good: #0b6b4d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --quiet: #a3adba; --line: #2f3843; --paper: #12161c; --good: #5fd0a7; --bad: #ff9d92; } }
html { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; color: var(--ink); background: var(--paper); }
body { margin: 0; font-variant-numeric: tabular-nums; } main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { margin: 0; font-size: 1.8rem; line-height: 1.2; letter-spacing: -.018em; }
h2 { margin: 3rem 0 1rem; padding-top: .9rem; border-top: 1px solid var(--line); font-size: 1.25rem; }
pre { margin: .75rem 0; white-space: pre-wrap; font-family: ui-monospace, "Liberation Mono", monospace; } p { margin: .5rem 0; max-width: 50rem; } .quiet { color: var(--quiet); font-size: .875rem; }
nav ol { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; font-size: .875rem; } a { color: inherit; }
figure { margin: 1rem 0 1.75rem; } figcaption { color: var(--quiet); font-size: .875rem; margin-top: .3rem; } figure div { overflow-x: auto; } svg { display: block; width: 100%; min-width: 38rem; height: auto; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .8125rem; }
th, td { padding: .32rem .9rem .32rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { color: var(--quiet); font-weight: 560; }
tr.reference td { font-weight: 640; } td.best { text-decoration: underline; text-underline-offset: .2em; } td.better { color: var(--good); } td.worse { color: var(--bad); }
td small { color: var(--quiet); font-size: .75rem; font-weight: 400; }
"""  # noqa: E501


def html(runs: Sequence[Run], groups: Sequence[Group], *, title: str, notes: Sequence[str] = ()) -> str:
    """The whole document; `notes` stand below the title, those of several lines as they are."""
    look = _looks(groups)
    contents = "".join(f'<li><a href="#g{i}">{escape(group.title)}</a></li>' for i, group in enumerate(groups))
    sections = "".join(_section(f"g{i}", runs, group, look) for i, group in enumerate(groups))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{_below(notes)}<nav><ol>{contents}</ol></nav>\n"
        f"{sections}</main>\n</body>\n</html>\n"
    )


def _below(notes: Sequence[str]) -> str:
    kinds = ((note, "pre" if "\n" in note else "p") for note in notes)
    return "".join(f'<{kind} class="quiet">{escape(note)}</{kind}>\n' for note, kind in kinds)


def _looks(groups: Iterable[Group]) -> dict[str, pictures.Look]:
    groups = list(groups)
    reference = next((group.reference for group in groups if group.reference is not None), None)
    return pictures.looks((row.method for group in groups for row in group.rows), reference=reference)


def _section(place: str, runs: Sequence[Run], group: Group, look: dict[str, pictures.Look]) -> str:
    drawn = [(pictures.curves(runs, group, look), "Mean regret over the budget; the band is one standard error.")]
    last = group.friedman[-1]
    if last is not None:
        said = "Average ranks of the mean regret over the readings; a bar joins methods that they do not tell apart."
        drawn.append((pictures.ranks(last, reference=group.reference), said))
    figures = "".join(
        f"<figure><div>{svg}</div><figcaption>{escape(said)}</figcaption></figure>\n" for svg, said in drawn
    )
    legend = "".join(f'<p class="quiet">{escape(said)}</p>\n' for said in tables.legend(group))
    return f'<section id="{place}">\n<h2>{escape(group.title)}</h2>\n{_table(group)}{legend}{figures}</section>\n'


def _table(group: Group) -> str:
    head = "".join(f"<th>{escape(said)}</th>" for said in tables.head(group))
    body = "".join(_line(group, row, said) for row, said in zip(group.rows, tables.rows(group), strict=True))
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'


def _line(group: Group, row: Row, said: Sequence[str]) -> str:
    cells = [f"<td>{escape(said[0])}</td>"]
    for one, against, least in zip(row.regret, row.against, group.least, strict=True):
        kinds = ["best"] if one.mean <= least and row.method in group.complete else []
        sign = tables.sign(against)
        kinds += [{tables.BETTER: "better", tables.WORSE: "worse"}[sign]] if sign else []
        se = f" <small>±{tables.regret(one.se)}</small>" if one.se is not None else ""
        cells.append(f'<td class="{" ".join(kinds)}">{tables.regret(one.mean)}{sign}{se}</td>')
    cells += [f"<td>{escape(value)}</td>" for value in said[1 + len(row.regret) :]]
    kind = ' class="reference"' if row.method == group.reference else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"
