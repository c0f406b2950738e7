"""A report as one HTML page that needs nothing else: style and pictures are in it, and there is no script.

The only module that writes HTML. Whatever is text is escaped here; pictures come from `figures`, which escapes its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from hpo_service.report.blocks import (
    Block,
    Callout,
    Code,
    Facts,
    Figure,
    Figures,
    Notes,
    Report,
    Section,
    Table,
    Text,
    Tiles,
)

_STYLE = Path(__file__).parent / "style.css"


def html(report: Report) -> str:
    """The whole document."""
    title, places = escape(report.title), [f"s{i}" for i in range(len(report.sections))]
    contents = "".join(
        f'<li><a href="#{place}">{escape(section.title)}</a></li>'
        for place, section in zip(places, report.sections, strict=True)
    )
    sections = "".join(_section(place, one) for place, one in zip(places, report.sections, strict=True))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}: report</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header>\n<p class="kind">Study report</p>\n<h1 dir="auto">{title}</h1>\n'
        f'<p class="quiet">{escape(report.under)}</p>\n</header>\n'
        f"{''.join(map(_block, report.lead))}"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n{sections}'
        f"<footer><p>{escape(report.made)}</p></footer>\n</main>\n</body>\n</html>\n"
    )


@functools.cache
def _style() -> str:
    return _STYLE.read_text(encoding="utf-8")


def _section(place: str, section: Section) -> str:
    blocks = "".join(map(_block, section.blocks))
    return f'<section id="{place}">\n<h2>{escape(section.title)}</h2>\n{blocks}</section>\n'


def _block(block: Block) -> str:
    return _RENDERED[type(block)](block)


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _text(block: Text) -> str:
    return f"<p{_class('quiet' if block.quiet else '')}>{escape(block.text)}</p>\n"


def _callout(block: Callout) -> str:
    return f'<p class="callout {block.tone}">{escape(block.text)}</p>\n'


def _tiles(block: Tiles) -> str:
    each = "".join(
        f"<div><dt>{escape(what)}</dt><dd><strong>{escape(value)}</strong>"
        f"{f'<span>{escape(remark)}</span>' if remark else ''}</dd></div>"
        for what, value, remark in block.items
    )
    return f'<dl class="tiles">{each}</dl>\n'


def _facts(block: Facts) -> str:
    each = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block.items)
    return f'<dl class="facts">{each}</dl>\n'


def _table(block: Table) -> str:
    def kind(place: int) -> str:
        return _class("num" if place in block.numeric else "")

    head = "".join(f'<th scope="col"{kind(i)}>{escape(name)}</th>' for i, name in enumerate(block.head))
    rows = "".join(
        f"<tr{_class('strong' if i in block.strong else '')}>"
        + "".join(f"<td{kind(j)}>{escape(value)}</td>" for j, value in enumerate(row))
        + "</tr>\n"
        for i, row in enumerate(block.rows)
    )
    caption = f'<p class="caption">{escape(block.caption)}</p>\n' if block.caption else ""
    named = escape(block.caption or ", ".join(block.head), quote=True)
    return (
        f'{caption}<div class="table" role="region" aria-label="{named}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def _figure(block: Figure) -> str:
    wide = _class("wide" if block.wide else "")
    return f"<figure{wide}>{block.svg}<figcaption>{escape(block.caption)}</figcaption></figure>\n"


def _figures(block: Figures) -> str:
    return f'<div class="figures">{"".join(map(_figure, block.items))}</div>\n'


def _code(block: Code) -> str:
    body = f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
    if not block.title:
        return body + "\n"
    if block.folded:
        return f"<details><summary>{escape(block.title)}</summary>{body}</details>\n"
    return f"<h3>{escape(block.title)}</h3>{body}\n"


def _notes(block: Notes) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>\n" if block.items else ""


_RENDERED: dict[type, Callable[[Any], str]] = {
    Text: _text,
    Callout: _callout,
    Tiles: _tiles,
    Facts: _facts,
    Table: _table,
    Figure: _figure,
    Figures: _figures,
    Code: _code,
    Notes: _notes,
}
