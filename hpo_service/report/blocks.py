"""What a report is made of, before it is HTML or Markdown: sections of blocks of plain text. Nothing here is markup;
whoever renders a block escapes what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Callout:
    """The sentence that a reader should take home."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Tiles:
    """A few numbers in large type: (what, value, remark)."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one per line."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """`numeric`: places of the columns that are set to the right; `strong`: rows that stand out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture as SVG, made by `figures` alone, which escapes what it writes; `says` is what it shows, in words."""

    svg: str
    caption: str
    says: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Pictures side by side where there is room."""

    items: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Code:
    """Commands or a file, word for word. `folded`: closed at first, under its title."""

    text: str
    language: str = ""
    title: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Notes:
    """Short remarks."""

    items: Sequence[str]


Block = Text | Callout | Tiles | Facts | Table | Figure | Figures | Code | Notes


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole page. `under` is the line below the title, `made` the one at the end."""

    title: str
    under: str
    lead: Sequence[Block]
    sections: Sequence[Section]
    made: str
