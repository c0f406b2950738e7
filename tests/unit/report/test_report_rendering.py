"""Reports as HTML and Markdown: whatever a user typed stays text, and a page needs nothing but itself."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hpo_service.report import figures
from hpo_service.report.blocks import (
    Block,
    Callout,
    Code,
    Facts,
    Figure,
    Notes,
    Report,
    Section,
    Table,
    Text,
    Tiles,
)
from hpo_service.report.figures import Line, Spread
from hpo_service.report.markdown import markdown
from hpo_service.report.page import html
from hpo_service.report.wording import difference, dollars, duration, metric, number

TYPED = st.one_of(
    st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=40),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</style><img src=x onerror=alert(1)>",
            "[x](javascript:alert(1))",
            "| a | b |",
            "# heading",
            "1. one",
            "- item",
            "```",
            "https://example.org",
            "&lt;b&gt;",
            "a\\*b*",
            '" onmouseover="x',
        ]
    ),
)
_TAGS = """
html head meta title style body main header p h1 h2 h3 nav ol ul li a section dl dt dd div strong span table thead tbody
tr th td figure figcaption svg text circle line rect path polyline details summary pre code footer
"""
TAGS = frozenset(_TAGS.split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _report(text: str) -> Report:
    figure = Figure(figures.bars([(text, 0.6), ("b", 0.4)], label=text), text, text)
    blocks: list[Block] = [
        Text(text),
        Callout(text, "good"),
        Tiles([(text, text, text)]),
        Facts([(text, text)]),
        Table([text, "n"], [[text, text]], frozenset({1}), frozenset({0}), caption=text),
        figure,
        Notes([text]),
    ]
    code = Section("code", [Code(text, "yaml", title="definition", folded=True)])
    return Report(title=text, under=text, lead=blocks, sections=[Section(text, blocks), code], made=text)


@given(text=TYPED)
def test_what_was_typed_is_text_in_html(text: str) -> None:
    reader = _Reader()
    page = html(_report(text))
    reader.feed(page)
    assert reader.tags <= TAGS
    assert not any(name.startswith("on") for name in reader.attributes)
    assert all(link.startswith("#s") for link in reader.links)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    found = " ".join("".join(reader.words).split())
    assert found.count(" ".join(text.split())) >= 10


@given(text=TYPED)
def test_what_was_typed_is_text_in_markdown(text: str) -> None:
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(_report(text)))
    reader = _Reader()
    reader.feed(rendered)
    assert reader.tags <= {"h1", "h2", "h3", "p", "strong", "em", "ul", "li", "blockquote", "table", "thead", "tbody",
                           "tr", "th", "td", "pre", "code", "hr", "br"}  # fmt: skip
    shown = " ".join("".join(reader.words).split())
    wanted = " ".join(text.split())
    assert shown.count(wanted) >= 10
    assert len(re.findall(r"<h2>", rendered)) == 2


@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=20), text=TYPED)
def test_pictures_hold_no_number_that_cannot_be_drawn(values: list[float], text: str) -> None:
    finite = [v for v in values if math.isfinite(v) and abs(v) < 1e100]
    span = figures.limits(finite, keep=finite[:1])
    svg = figures.lines(
        [Line(x=[float(i) for i in range(len(values))], y=values, label=text)],
        x_title=text,
        y_title=text,
        y_range=span,
        points=[(float(i), v) for i, v in enumerate(finite)],
        label=text,
    )
    svg += figures.spreads(
        [Spread(name=text, values=finite, mean=None, low=None, high=None, searched=None)], title=text, label=text
    )
    svg += figures.scatter([(v, v) for v in finite], [], x_title=text, y_title=text, label=text)
    assert not re.search(r'="[^"]*\b(nan|inf)', svg)
    reader = _Reader()
    reader.feed(svg)
    assert reader.tags <= TAGS


@given(low=st.floats(-1e9, 1e9), width=st.floats(1e-6, 1e9))
def test_ticks_are_round_and_within(low: float, width: float) -> None:
    high = low + width
    if not high > low:
        return
    found = figures.ticks(low, high)
    assert len(found) <= 8
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert all(low - slack <= tick <= high + slack for tick in found)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.7e308, 0.1, 0.2], "0.15"),
        ([1e-14, 5e-14], "2e-14"),
        ([123.45612, 123.45618], "123.45614"),
        ([math.nan, math.inf], "0.5"),
    ],
)
def test_an_axis_names_its_places_apart_at_any_size(values: list[float], shown: str) -> None:
    drawn = figures.lines(
        [Line(x=[0, 1], y=values[:2])], x_title="", y_title="", y_range=figures.limits(values), label=""
    )
    assert f">{shown}<" in drawn
    assert "nan" not in drawn
    assert "inf" not in drawn


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (metric(0.9341, "val_accuracy"), "93.41 %"),
        (metric(0.9273, "val_accuracy", 0.0042), "92.73 ± 0.42 %"),
        (metric(1.234567, "loss", 0.01), "1.235 ± 0.01"),
        (metric(None, "loss"), "–"),
        (difference(0.014, "val_accuracy", of=0.9), "1.4 points"),
        (difference(0.01, "val_accuracy", of=0.9), "1 point"),
        (difference(0.0123, "loss", of=0.9), "0.012"),
        (difference(0.5, "val_accuracy", of=92.5), "0.5"),
        (metric(92.5, "val_accuracy", 0.5), "92.5 ± 0.5"),
        (metric(0.925, "val_acc"), "92.5 %"),
        (metric(0.925, "vacc"), "0.925"),
        (dollars(0.0), "$0"),
        (dollars(1250.0), "$1,250"),
        (dollars(0.00001), "less than $0.0001"),
        (duration(3.14), "3.1 s"),
        (duration(3600 * 20 + 50 * 60), "20 h 50 min"),
        (duration(3600 * 72), "3 d"),
        (number(1e-5), "1e-5"),
        (number(math.nan), "NaN"),
        (number([1, "a"]), '[1, "a"]'),
        (number(True), "true"),
    ],
)
def test_numbers_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected
