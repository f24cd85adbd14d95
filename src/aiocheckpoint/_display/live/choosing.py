"""Which display a call of a flow gets. Where nothing is shown, nothing is imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, cast

from aiocheckpoint._display.live.displays import is_shown, notebook_shell
from aiocheckpoint._display.live.guarding import guarded, log_failed
from aiocheckpoint._display.live.streams import is_terminal
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._display.live.displays import Display, DisplaySubject, ProgressWord

__all__ = ["make_display"]

_Kind = Literal["card", "late card", "bar", "lines"]


def make_display(
    word: ProgressWord | None, shown: Callable[[], DisplaySubject], flow: str
) -> Display | None:
    """Make the display for one call of a flow. No error of it, or of this, comes out.

    Args:
        word: The word for `progress=`. None is a card in notebooks that comes after half a second.
        shown: Gives what to show. It is not called where nothing is shown.
        flow: Name of the flow, for the log.

    Returns:
        The display. None where nothing is to be shown, and in a run that has a display already.
    """
    try:
        kind = _kind_of(word)
        display = None if kind is None or is_shown() else _made(kind, shown)
    except CheckpointError:  # Of an argument. The call raises the same.
        return None
    except Exception as error:  # noqa: BLE001 - a display never breaks a run
        log_failed(flow, error)
        return None
    return None if display is None else guarded(display, flow)


def _made(kind: _Kind, shown: Callable[[], DisplaySubject]) -> Display | None:
    # Where nothing is shown, a process does without these imports.
    if kind in {"card", "late card"}:
        from aiocheckpoint._display.live.live_card import make_card  # noqa: PLC0415

        return make_card(shown(), late=kind == "late card")
    if kind == "bar":
        from aiocheckpoint._display.live.bars import make_bar  # noqa: PLC0415

        bar = make_bar(shown())
        if bar is not None:
            return bar
    from aiocheckpoint._display.live.lines import make_lines  # noqa: PLC0415

    return make_lines(shown())


def _kind_of(word: ProgressWord | None) -> _Kind | None:
    if word is None:
        return None if notebook_shell() is None else "late card"
    if word == "auto" and notebook_shell() is None:
        return "bar" if is_terminal(sys.stderr) else None
    if word in {"auto", "card"}:
        return None if notebook_shell() is None else "card"
    return None if word == "none" else cast("_Kind", word)
