"""Displays of progress: what they are, what they show, and where."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

from aiocheckpoint._model.followers import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token

    from aiocheckpoint.events import Event

__all__ = [
    "PROGRESS_WORDS",
    "Closing",
    "Display",
    "DisplayBlock",
    "DisplaySubject",
    "ProgressWord",
    "is_shown",
    "listener_of",
    "mark_shown",
    "notebook_shell",
]

ProgressWord = Literal["auto", "card", "bar", "lines", "none"]
PROGRESS_WORDS: tuple[ProgressWord, ...] = get_args(ProgressWord)
"""The words for `progress=`."""

_is_shown: ContextVar[bool] = ContextVar("aiocheckpoint_is_shown", default=False)
"""Whether a display shows the run in whose context this is. Runs inside it get no other."""
_PROCESS = os.getpid()
"""The process whose notebook this is. A forked child is none, though it has IPython."""


class Display(Protocol):
    """Shows one run, or many, while they are in progress.

    One that is a `Follower` hears rare events alone.
    """

    def hear(self, event: Event) -> None:
        """Take an event. In any thread, and quickly: it is called in the midst of a run."""

    def close(self, error: BaseException | None) -> None:
        """Show the last state, and end.

        Args:
            error: The exception that ends the call, or None.
        """


class DisplaySubject(NamedTuple):
    """What a display shows.

    Attributes:
        flow: Name of the flow.
        run_id: The run, or None for the one without an id. Unused for many.
        location: Where its snapshot is, for messages.
        many: Whether it shows many runs in one.
        total: The number of these runs, or None where it is unknown.
        expected: Gives the seconds that each step took in earlier runs. It may read the store, and
            is called in the thread of the display. None where nothing is known.
    """

    flow: str
    run_id: str | None
    location: str
    many: bool = False
    total: int | None = None
    expected: Callable[[], Mapping[str, float]] | None = None


def notebook_shell() -> Any:  # noqa: ANN401 - IPython's shell
    """Give the shell of the kernel in which this runs, or None. IPython is never imported for it.

    The shell of a terminal has no kernel, and shows no HTML.
    """
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get is None else get()
    if getattr(shell, "kernel", None) is None or getattr(shell, "display_pub", None) is None:
        return None
    return shell if os.getpid() == _PROCESS else None


def is_shown() -> bool:
    """Whether a display shows the run in whose context this is called."""
    return _is_shown.get()


def mark_shown() -> None:
    """Note for the rest of this task that a display shows its run."""
    _is_shown.set(True)


def listener_of(display: Display) -> Callable[[Event], None] | Follower:
    """Give what a run takes as its listener, so that a display shows it."""
    return display if isinstance(display, Follower) else display.hear


class Closing:
    """Closes a display at the end of a `with` block.

    Another such block, or a `DisplayBlock`, stands in it. Ctrl-C may come at the first line of the
    `__exit__` of the inner one.

    Args:
        display: The display, or None.
    """

    __slots__ = ("_inner",)

    def __init__(self, display: Display | None) -> None:
        self._inner = DisplayBlock(display)

    def __enter__(self) -> DisplayBlock:
        return self._inner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: object
    ) -> None:
        self._inner.end(error)


class DisplayBlock:
    """Lets a display show what happens in a `with` block, which gives the listener for it.

    Args:
        display: The display, which is closed at the end of the block. Or None, for none.
    """

    __slots__ = ("_display", "_token")

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._token: Token[bool] | None = None

    def __enter__(self) -> Callable[[Event], None] | Follower | None:
        if self._display is None:
            return None
        self._token = _is_shown.set(True)
        return listener_of(self._display)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: object
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Close the display, as at the end of the block."""
        token, self._token = self._token, None
        if token is not None:
            with suppress(ValueError):  # Another context: somebody drives the coroutine by hand.
                _is_shown.reset(token)
        if self._display is not None:
            self._display.close(error)
