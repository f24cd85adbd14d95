"""Colours, drawn by rich of the extra `cli`. Without it the output is plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.signs import SIGNS
from aiocheckpoint.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["make_painter"]

_STYLES = {"title": "bold", "quiet": "dim"}


def make_painter(*, required: bool) -> Callable[[str, str], str] | None:
    """Give a function that paints a text in a style: the name of a status, "title" or "quiet".

    Args:
        required: Whether rich was asked for by name.

    Returns:
        The function. None where rich is not installed and nobody asked for it.

    Raises:
        MissingExtraError: rich is required and not installed.
    """
    try:
        from rich.color import ColorSystem  # noqa: PLC0415 - may be missing, and takes long
        from rich.console import Console  # noqa: PLC0415
        from rich.style import Style  # noqa: PLC0415
    except ImportError as error:
        if required:
            install = "pip install 'aiocheckpoint[cli]'"
            raise MissingExtraError("--color always", "rich", install) from error
        return None

    # The terminal may be said to be "dumb", or the stream a pipe: colours were asked for.
    name = Console(force_terminal=True).color_system or "standard"
    system = ColorSystem[_SYSTEMS[name]]

    named = dict(_STYLES)
    for status, sign in SIGNS.items():
        named[status] = sign.basic if system is ColorSystem.STANDARD else sign.colour

    def paint(text: str, style: str) -> str:
        return Style.parse(named.get(style, "")).render(text, color_system=system)

    return paint


_SYSTEMS = {
    "standard": "STANDARD",
    "256": "EIGHT_BIT",
    "truecolor": "TRUECOLOR",
    "windows": "WINDOWS",
}
