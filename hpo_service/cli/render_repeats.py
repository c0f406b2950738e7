"""What replays and differences look like on a terminal. Pure: answers in, renderables out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpo_service.client.repeats import Comparison, Replay

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def replay_lines(found: Replay) -> Iterator[str]:
    """The verdict first, then each differing decision."""
    asked = f"{found.decisions} decisions with {found.proposals} proposals, over {found.events} events"
    if found.same:
        yield f"the same: {found.algorithm} (version {found.version}) decides alike in all of {asked}"
    else:
        yield f"NOT the same: {found.differing} of {asked} would be others now"
    if found.by_hand:
        yield f"{found.by_hand} more were decided by hand, and are not asked again"
    for one in found.differences:
        yield f"decision {one.decision} (event {one.seq})" + (f": {one.cause}" if one.cause else "")
        yield f"  stored: {_short(list(one.stored))}"
        yield f"  now:    {_short(list(one.now))}"
    hidden = found.differing - len(found.differences)
    if hidden > 0:
        yield f"and {hidden} more"


def diff_sheet(found: Comparison) -> RenderableType:
    """A table for each subject, then the code as a diff."""
    parts: list[RenderableType] = []
    if found.same:
        parts.append(Text(f"{found.a} and {found.b} differ in nothing but, perhaps, their results", style="bold"))
    for name, differences in found.sections.items():
        table = Table(title=name, title_justify="left", title_style="bold", expand=False)
        table.add_column("")
        table.add_column(found.a, overflow="fold")
        table.add_column(found.b, overflow="fold")
        for one in differences:
            table.add_row(Text(one.path), *(Text(_short(value)) for value in one.values))
        parts.append(table)
    for file in found.files:
        text = Text()
        for line in file.diff.splitlines():
            text.append(line + "\n", style=_COLOURS.get(line[:1], ""))
        parts.append(text)
    parts += [Text(note, style="dim") for note in found.notes]
    return Group(*parts)


def _short(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"
