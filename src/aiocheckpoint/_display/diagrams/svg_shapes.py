"""The shapes that an SVG diagram is made of, as text.

All text is ASCII: what lies beyond is written as character references, so that no encoding of a
file, page or stream changes it. There are no ids, which two pictures on one page would share, no
scripts, and no references.
"""

from __future__ import annotations

import re

from aiocheckpoint._texts import harmless

__all__ = ["MONO", "arrow", "box", "line", "number", "plain", "text"]

MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
_HEAD = 5.0
_ESCAPED = re.compile("[&<>\"']")


def plain(shown: str) -> str:
    """Escape a text for XML. Control characters are shown by their escapes."""
    escaped = _ESCAPED.sub(lambda found: f"&#{ord(found[0])};", harmless(shown))
    return escaped.encode("ascii", "xmlcharrefreplace").decode()


def number(size: float) -> str:
    """Write a length, with a tenth at most."""
    return f"{round(size, 1):g}"


def line(x: float, y: float, to_x: float, to_y: float, style: str) -> str:
    """Draw a line with attributes."""
    ends = f"M{number(x)} {number(y)}L{number(to_x)} {number(to_y)}"
    return f'<path d="{ends}" {style}/>'


def arrow(x: float, y: float, to_x: float, to_y: float, opacity: float) -> str:
    """Draw an arrow to the right or downwards."""
    if y == to_y:
        head = f"M{number(to_x - _HEAD)} {number(y - 4)}l{number(_HEAD)} 4l{number(-_HEAD)} 4"
    else:
        head = f"M{number(x - 4)} {number(to_y - _HEAD)}l4 {number(_HEAD)}l4 {number(-_HEAD)}"
    ends = f"M{number(x)} {number(y)}L{number(to_x)} {number(to_y)}"
    stroke = f'fill="none" stroke="currentColor" stroke-opacity="{opacity:g}"'
    return f'<path d="{ends}{head}" {stroke}/>'


def box(corner: tuple[float, float], size: tuple[float, float], radius: float, style: str) -> str:
    """Draw a rectangle with round corners and attributes."""
    place = f'x="{number(corner[0])}" y="{number(corner[1])}"'
    extent = f'width="{number(size[0])}" height="{number(size[1])}"'
    return f'<rect {place} {extent} rx="{number(radius)}" {style}/>'


def text(x: float, y: float, shown: str, style: str) -> str:
    """Draw a text with attributes."""
    return f'<text x="{number(x)}" y="{number(y)}" {style}>{plain(shown)}</text>'
