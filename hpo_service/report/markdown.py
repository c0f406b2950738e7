"""A report as Markdown, to go into a repository or a wiki: the same words and tables, pictures in words.

What a user typed cannot become markup: marks are escaped, and lines stay lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    Table,
    Text,
    Tiles,
)

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_FENCE = re.compile(r"`{3,}")
_STARTS = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$|[-+=])")


def markdown(report: Report) -> str:
    """The whole document (CommonMark with the tables of GitHub)."""
    parts = [f"# {escaped(report.title)}", escaped(report.under)]
    parts += map(_block, report.lead)
    for section in report.sections:
        parts += [f"## {escaped(section.title)}", *map(_block, section.blocks)]
    parts += ["---", escaped(report.made)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """One line of text without a mark that means something."""
    line = " ".join(text.split())
    return _STARTS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", line)).replace("://", ":\\//")


def _block(block: Block) -> str:
    return _RENDERED[type(block)](block)


def _text(block: Text) -> str:
    return escaped(block.text)


def _callout(block: Callout) -> str:
    return f"> **{escaped(block.text)}**"


def _tiles(block: Tiles) -> str:
    return "\n".join(
        f"- {escaped(what)}: **{escaped(value)}**{f' ({escaped(remark)})' if remark else ''}"
        for what, value, remark in block.items
    )


def _facts(block: Facts) -> str:
    return "\n".join(f"- {f'{escaped(name)}: ' if name else ''}{escaped(value)}" for name, value in block.items)


def _table(block: Table) -> str:
    rule = ["---:" if i in block.numeric else "---" for i in range(len(block.head))]
    rows = [list(map(escaped, block.head)), rule]
    rows += [
        [f"**{value}**" if i in block.strong and value else value for value in map(escaped, row)]
        for i, row in enumerate(block.rows)
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*([escaped(block.caption), ""] if block.caption else []), *lines])


def _figure(block: Figure) -> str:
    return escaped(block.says)  # there is no picture to caption


def _figures(block: Figures) -> str:
    return "\n\n".join(map(_figure, block.items))


def _code(block: Code) -> str:
    longest = max((len(found) for found in _FENCE.findall(block.text)), default=2)
    fence = "`" * (longest + 1)
    title = f"### {escaped(block.title)}\n\n" if block.title else ""
    return f"{title}{fence}{block.language}\n{block.text.rstrip()}\n{fence}"


def _notes(block: Notes) -> str:
    return "\n".join(f"- {escaped(item)}" for item in block.items)


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
