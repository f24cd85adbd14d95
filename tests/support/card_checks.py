"""Checks of the HTML of cards: strict, small, and with nothing that could do anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_PICTURE = {"svg", "title", "desc", "g", "rect", "path", "text", "tspan", "line", "circle"}
_TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
TAGS = {"div", "b", "span", "details", "summary", "ul", "ol", "li", "code", "pre", "progress"} | {
    *_PICTURE,
    *_TABLE,
}
ATTRIBUTES = {"style", "scope", "open", "aria-hidden", "aria-label", "value", "max"}
FORBIDDEN = {"id", "src", "href", "xlink:href", "class", "name", "srcdoc", "action", "formaction"}
MOST_BYTES = 20_000

HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table></details></div><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "&lt;b&gt; &amp; &#60;",
    "a\x00b\x1b[31mred\x07\r\n\x85line",
    "\u202egnp.exe\u202c \u2066isolate\u2069 \u200bzero",
    "lone \ud800 surrogate \udfff",
    "a" + "\u0301" * 2_000,
    "<" * 1_000,
    "\U000e0001" * 600,
    "\U0001d518" * 2_000,
    "漢" * 2_000,
    "<!--",
    "]]>",
    "{{7*7}} ${7*7} `",
)
"""Names, reasons and errors that would break out of HTML, lines, or the bound on bytes."""


class StrictCard(HTMLParser):
    """Parses a card, and raises an AssertionError for whatever does not belong into one."""

    def __init__(self) -> None:
        """Begin with nothing open."""
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.parts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element and its attributes."""
        assert tag in TAGS, tag
        in_picture = "svg" in (*self.open, tag)
        for name, value in attrs:
            assert name not in FORBIDDEN, name
            assert not name.startswith("on"), name
            assert in_picture or name in ATTRIBUTES, name
            assert "url(" not in (value or ""), value
            assert "javascript" not in (value or "").lower() or name != "style", value
        self.open.append(tag)
        self.tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element of a picture that is closed at once."""
        assert "svg" in self.open, tag
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the element opened last is closed."""
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Take a text. It holds no `<` that an element could begin with."""
        self.parts.append(data)

    def handle_comment(self, data: str) -> None:
        """Refuse a comment."""
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        """Refuse a declaration."""
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        """Refuse an instruction."""
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        """Refuse a declaration."""
        raise AssertionError(data)


def checked_card(html: str | None) -> str:
    """Check a card, and give all of its text, as it is read with every style stripped."""
    assert html is not None
    assert len(html.encode()) <= MOST_BYTES
    parser = StrictCard()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert parser.tags[0] == "div"
    text = " ".join("".join(f"{part} " for part in parser.parts).split())
    assert text.isprintable()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", html)
    return text
