"""Notes are Markdown that strangers write: the one place where their text becomes HTML for a page.

No HTML passes through, images are off, and links lead only to http, https and mailto. What comes out may be put into a
page as it is; nothing else that users write may be.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

MAX_MARKDOWN = 20_000
"""Characters of the longest notes that are read as Markdown; longer ones are shown as they were written."""
_ALLOWED = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)


@functools.lru_cache(maxsize=256)
def notes_html(text: str) -> str:
    """The notes as HTML without scripts, styles, images, or links to anything but the web and mail."""
    if not text.strip():
        return ""
    if len(text) > MAX_MARKDOWN:
        return f"<pre>{html.escape(text)}</pre>"
    return str(_markdown().render(text))


def allowed(url: str) -> bool:
    """Whether a link may lead there."""
    return _ALLOWED.match(url) is not None


@functools.cache
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False})
    made.enable(["table", "strikethrough"]).disable(["image", "html_block", "html_inline"])
    made.validateLink = allowed  # type: ignore[method-assign]  # the library's way to say which links are made
    made.add_render_rule("link_open", _link)
    made.add_render_rule("heading_open", _heading)
    made.add_render_rule("heading_close", _heading)
    return made


def _heading(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    """Notes stand below the headings of a page: theirs begin at the third level."""
    tokens[index].tag = f"h{min(6, int(tokens[index].tag[1:]) + 2)}"
    return renderer.renderToken(tokens, index, options, env)


def _link(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    """A link that tells the other side nothing, and search engines that it is not ours."""
    tokens[index].attrSet("rel", "noopener nofollow")
    return renderer.renderToken(tokens, index, options, env)
