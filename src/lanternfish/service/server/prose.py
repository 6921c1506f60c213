"""Documentation of analyses, written by strangers in Markdown, as HTML that can do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup


def _make() -> MarkdownIt:
    # "js-default" escapes HTML; links other than http, https and mailto become text.
    made = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False})
    made.disable("image")
    made.validateLink = lambda url: url.lower().startswith(("https://", "http://", "mailto:", "#"))

    return made


_MARKDOWN = _make()
_PICTURE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)")  # from elsewhere it would tell who reads


@lru_cache(maxsize=256)
def rendered(text: str) -> Markup:
    """Markdown as HTML, with headings one level down, below those of the page."""
    tokens = _MARKDOWN.parse(_PICTURE.sub("", text))
    for token in _all(tokens):
        if token.type == "link_open":
            token.attrSet("rel", "noopener noreferrer")
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        if token.attrs and "style" in token.attrs:  # table alignment: the CSP refuses it
            del token.attrs["style"]
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _all(tokens: Sequence[Token]) -> Iterator[Token]:
    """Tokens with those inside of them."""
    for token in tokens:
        yield token
        yield from token.children or ()
