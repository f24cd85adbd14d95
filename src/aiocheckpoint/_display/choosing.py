"""Which display a call of a flow gets. Where nothing is shown, nothing is imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, cast

from aiocheckpoint._display.displays import is_shown, notebook_shell
from aiocheckpoint._display.streams import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._display.displays import Display, DisplaySubject, ProgressWord

__all__ = ["make_display"]

_Kind = Literal["card", "late card", "bar", "lines"]


def make_display(word: ProgressWord | None, shown: Callable[[], DisplaySubject]) -> Display | None:
    """Make the display for one call of a flow.

    Args:
        word: The word for `progress=`. None is a card in notebooks that comes after half a second.
        shown: Gives what to show. It is not called where nothing is shown.

    Returns:
        The display. None where nothing is to be shown, and in a run that has a display already.
    """
    kind = _kind_of(word)
    if kind is None or is_shown():
        return None
    # Where nothing is shown, a process does without these imports.
    if kind in {"card", "late card"}:
        from aiocheckpoint._display.live_card import make_card  # noqa: PLC0415

        return make_card(shown(), late=kind == "late card")
    if kind == "bar":
        from aiocheckpoint._display.bars import make_bar  # noqa: PLC0415

        bar = make_bar(shown())
        if bar is not None:
            return bar
    from aiocheckpoint._display.lines import make_lines  # noqa: PLC0415

    return make_lines(shown())


def _kind_of(word: ProgressWord | None) -> _Kind | None:
    if word is None:
        return None if notebook_shell() is None else "late card"
    if word == "auto" and notebook_shell() is None:
        return "bar" if is_terminal(sys.stderr) else None
    if word in {"auto", "card"}:
        return None if notebook_shell() is None else "card"
    return None if word == "none" else cast("_Kind", word)
