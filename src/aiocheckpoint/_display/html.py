"""Small builders of HTML. Every text is escaped but that which they have made themselves.

There are no scripts, ids, classes and links, and no colours but those of signs: the text has the
colour of the page around it, and the ground is that of the page. So a card is right on light and on
dark pages. Without any style it still reads well, since signs have words beside them.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display.signs import sign_of
from aiocheckpoint._texts import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "MOST_BYTES",
    "ROWS_OF_LISTS",
    "TEXT_ROOM",
    "Html",
    "Room",
    "box",
    "cell",
    "code_of",
    "cut",
    "escape",
    "fitted",
    "fold",
    "join",
    "lines_of",
    "listed",
    "marked",
    "paragraph",
    "quiet",
    "row",
    "sign",
    "strong",
    "table",
    "tag",
    "title",
]

MOST_BYTES = 20_000
"""Of one card, as UTF-8."""

# JupyterLab's cleaner of notebooks that are not trusted drops a border with `color-mix`, and fonts
# and colours that are `inherit`. So each has a plain declaration beside it.
_LONGEST_WORD = 30
_BORDER = (
    "border:1px solid rgba(128,128,128,.35);"
    "border-color:color-mix(in srgb,currentColor 20%,transparent)"
)
_BOX = (
    f"display:inline-block;box-sizing:border-box;max-width:100%;overflow-x:auto;"
    f"{_BORDER};border-radius:6px;padding:.6em .9em;margin:.2em 0;"
    "line-height:1.45;text-align:left"
)
_QUIET = "color:color-mix(in srgb,currentColor 75%,transparent)"
# A table has neither the colour nor the font of its page in quirks mode. Notebooks give cells and
# rows styles of their own.
_TABLE = "color:inherit;font:inherit;font-size:1em;border-collapse:collapse;margin:.3em 0"
_ROW = "background:transparent"
_CELL = "padding:.1em 1em .1em 0;text-align:left;vertical-align:top"
_NUMBER = "padding:.1em 1em .1em 0;text-align:right;vertical-align:top"
_PLAIN = "background:transparent;color:inherit"
_PRE = f"{_PLAIN};margin:.3em 0;max-height:24em;overflow:auto;white-space:pre;font-size:.9em"


class Html(str):
    """HTML that is complete in itself, and is not escaped again."""

    __slots__ = ()


class Room(NamedTuple):
    """What a card may take, so that it stays below its bound.

    Attributes:
        rows: The most rows of a table.
        name: The most characters of a name.
        text: The most characters of a message or reason.
        block: The most characters of a traceback. 0 for none.
        extras: Whether there is room for pictures and values.
    """

    rows: int
    name: int
    text: int
    block: int
    extras: bool = True


_ROOMS = (
    Room(24, 60, 500, 6_000),
    Room(24, 60, 500, 2_000, extras=False),
    Room(16, 40, 300, 1_000, extras=False),
    Room(10, 24, 150, 0, extras=False),
    Room(4, 12, 60, 0, extras=False),
)


TEXT_ROOM = Room(rows=24, name=200, text=500, block=0)
"""What a text may take that says the same as a card. A line of it may be four times its `text`."""

ROWS_OF_LISTS = 100
"""The most rows of a text that is a list."""


def fitted(build: Callable[[Room], Html]) -> Html:
    """Build a card with as much as fits into its bound.

    Args:
        build: Builds it with the room that it is given. The least room is always enough.
    """
    for room in _ROOMS[:-1]:
        made = build(room)
        if len(made.encode()) <= MOST_BYTES:
            return made
    return build(_ROOMS[-1])


def cut(text: str, most: int) -> str:
    """Make a text harmless, and cut the middle out of one that has more characters."""
    if len(text) > 4 * most:  # Escaping all of a huge text takes long.
        text = text[: 2 * most] + text[-2 * most :]
    text = harmless(text)
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:] if tail else ''}"


def escape(text: str) -> Html:
    """Escape a text, unless it is HTML of these builders. It is made harmless as well."""
    if isinstance(text, Html):
        return text
    if text.isalnum():  # As most names and words, which a live card has by the hundred.
        return Html(text)
    return Html(html.escape(harmless(text)))


def join(parts: Iterable[str], separator: str = "") -> Html:
    """Join texts and HTML. Empty ones are left out, with their separator."""
    return Html(escape(separator).join([escape(one) for one in parts if one]))


def tag(name: str, *content: str, style: str = "", **attributes: str | float) -> Html:
    """Make an element.

    Args:
        name: Its name.
        content: Texts, which are escaped, and HTML.
        style: Its style, a constant.
        attributes: Its attributes. An underscore stands for a hyphen.
    """
    words = f' style="{style}"' if style else ""  # A constant has nothing to escape.
    for key, one in attributes.items():
        words += f' {key.replace("_", "-")}="{escape(str(one))}"'
    return Html(f"<{name}{words}>{join(content)}</{name}>")


def box(*content: str) -> Html:
    """Frame a card."""
    return tag("div", *content, style=_BOX)


def title(kind: str, *facts: str) -> Html:
    """The first line of a card: what it is of, and its facts, with points between them."""
    return tag("div", quiet(kind), " ", join(facts, " · "))


def paragraph(*content: str) -> Html:
    """A line of its own."""
    return tag("div", *content)


def strong(text: str) -> Html:
    """A text that stands out."""
    return tag("b", text)


def quiet(*content: str) -> Html:
    """A text that stands back."""
    return tag("span", *content, style=_QUIET)


def sign(status: str, word: str | None = None) -> Html:
    """The sign of a status in its colour, and its word.

    Args:
        status: The status.
        word: Another word in place of it.
    """
    return marked(
        sign_of(status).sign, status, cut(status, _LONGEST_WORD) if word is None else word
    )


def marked(mark: str, status: str, word: str) -> Html:
    """Another sign in the colour of a status, and a word."""
    return join((tag("span", mark, style=f"color:{sign_of(status).colour}"), word), " ")


def cell(*content: str, number: bool = False, heads: bool = False, whole: bool = False) -> Html:
    """A cell of a table.

    Args:
        content: What is in it.
        number: Whether it stands on the right.
        heads: Whether it is the title of a column.
        whole: Whether it stays in one line.
    """
    style = _NUMBER if number else f"{_CELL};white-space:nowrap" if whole else _CELL
    if heads:
        return tag("th", *content, style=style, scope="col")
    return tag("td", *content, style=style)


def row(*cells: str) -> Html:
    """A row of a table."""
    return tag("tr", *cells, style=_ROW)


def table(rows: Iterable[str], heads: str = "") -> Html:
    """A table.

    Args:
        rows: Its rows.
        heads: The row of the titles, or "" for none.
    """
    head = tag("thead", heads) if heads else ""
    return tag("table", head, tag("tbody", *rows), style=_TABLE)


def fold(summary: str, *content: str, shown: bool = False) -> Html:
    """Content behind a line that opens it.

    Args:
        summary: The line.
        content: What it opens.
        shown: Whether it is open at first.
    """
    inner = join((tag("summary", summary), *content))
    return Html(f"<details{' open' if shown else ''}>{inner}</details>")


def code_of(text: str) -> Html:
    """Code in a line."""
    return tag("code", text, style=f"{_PLAIN};white-space:pre-wrap")


def lines_of(text: str, most: int) -> Html:
    """Lines of text as they are, such as those of a traceback. Of a long one, its end.

    Args:
        text: The lines.
        most: The most characters.
    """
    left_out = len(text) - most
    kept = text if left_out <= 0 else text[-most:]
    shown = "\n".join(harmless(line) for line in kept.expandtabs().split("\n"))
    first = f"… {left_out:,} more characters before\n" if left_out > 0 else ""
    return tag("pre", Html(html.escape(first + shown)), style=_PRE)


def listed(items: Iterable[str]) -> Html:
    """A list without numbers."""
    return tag("ul", *(tag("li", one) for one in items), style="margin:.2em 0;padding-left:1.5em")
