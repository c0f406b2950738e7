"""Notes become HTML that may be put into a page as it is, whoever wrote them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.api.notes import MAX_MARKDOWN, allowed, notes_html
from tests.cpu_time import least_cpu_seconds

PLAIN = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "a", "em", "strong", "s", "code", "pre"}
PLAIN |= {"blockquote", "hr", "br", "table", "thead", "tbody", "tr", "th", "td"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "text <b onclick=alert(1)>bold</b>",
    "<!-- --><svg/onload=alert(1)>",
    "<style>body{display:none}</style>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](%6aavascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/api/v1/tokens)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "![x](https://evil.example/pixel.gif)",
    '[x](https://a.example "onmouseover=alert(1)")',
    '[x](https://a.example/"onmouseover=alert(1)//)',
    "```<script>\nx\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "| <script> |\n|---|\n| <img src=x> |",
    "\x00<script>",
    "&lt;script&gt;&#60;script&#62;",
]


class Reader(HTMLParser):
    """Collects what a browser would make of the HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]


def require_safe(text: str) -> Reader:
    """Fails unless the notes come out as plain text markup with harmless links only."""
    found = Reader(notes_html(text))
    assert found.tags <= PLAIN
    for tag, name, value in found.attributes:
        if (tag, name) == ("a", "href"):
            assert value is not None
            assert allowed(value)
        else:
            assert (tag, name) in {
                ("a", "rel"), ("a", "title"), ("code", "class"), ("ol", "start"), ("th", "style"), ("td", "style"),
            }  # fmt: skip
            assert name != "rel" or value == "noopener nofollow"
            assert name != "style" or value in {"text-align:left", "text-align:center", "text-align:right"}
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_notes_are_harmless(text: str) -> None:
    found = require_safe(text)
    assert all(".example" in (value or "") for _, name, value in found.attributes if name == "href")


@given(
    st.lists(st.sampled_from([*HOSTILE, "\n", " ", "> ", "- ", "*", "`", "[", "](", ")", "<", ">", "|"]), max_size=9)
)
def test_any_mixture_is_harmless(pieces: list[str]) -> None:
    require_safe("".join(pieces))


def test_what_people_write_looks_as_meant() -> None:
    text = "# Idea\n\nTry **lower** `lr`, see [the log](https://example.org/a?b=1&c=2) or <mailto:ada@example.org>\n"
    text += "\n- one"
    html = notes_html(text)
    assert "<h3>Idea</h3>" in html  # below the headings of the page
    assert "<strong>lower</strong>" in html
    assert '<a href="https://example.org/a?b=1&amp;c=2" rel="noopener nofollow">the log</a>' in html
    assert 'href="mailto:ada@example.org"' in html
    assert "<li>one</li>" in html
    assert notes_html("") == notes_html(" \n") == ""


def test_a_table_and_a_struck_word() -> None:
    assert "<td>0.1</td>" in notes_html("| lr |\n|---|\n| 0.1 |")
    assert "<s>no</s>" in notes_html("~~no~~")


@pytest.mark.parametrize("piece", ["[", "*a ", "- a\n", "[a](", "|a", "~~a", "<a ", "> "])
def test_notes_that_are_made_to_be_slow_are_not(piece: str) -> None:
    assert least_cpu_seconds(lambda: notes_html(piece * (MAX_MARKDOWN // len(piece)))) < 2
    html = notes_html("<b>" * MAX_MARKDOWN)
    assert html.startswith("<pre>&lt;b&gt;")


def test_they_come_with_study_and_trial(client: TestClient, study: str) -> None:
    path = f"/api/v1/studies/{study}"
    changed: dict[str, Any] = client.patch(path, json={"notes": "*slow* <script>"}).json()
    assert changed["notes_html"] == client.get(path).json()["notes_html"] == "<p><em>slow</em> &lt;script&gt;</p>\n"
    assert client.get("/api/v1/studies").json()["items"][0]["notes_html"] is None
    number = client.post(f"{path}/trials", json={"configurations": [{"lr": 0.01, "kind": "a"}]}).json()["trials"][0]
    client.patch(f"{path}/trials/{number}", json={"notes": "**odd**"})
    assert client.get(f"{path}/trials/{number}").json()["notes_html"] == "<p><strong>odd</strong></p>\n"
