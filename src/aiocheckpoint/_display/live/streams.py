"""Streams of a terminal whose texts are put above what stands at its foot.

A stream keeps its identity, and gets another `write`. So what holds the stream, as a handler of a
log does, writes above the foot too. Text goes through as it is, and at once.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Foot", "WatchedStreams", "is_terminal"]


class Foot(Protocol):
    """What stands at the foot of a terminal."""

    def above(self, text: str | None) -> AbstractContextManager[object]:
        """Step aside for a block that writes a text, or None for one that is unknown."""
        raise NotImplementedError


class WatchedStreams:
    """The standard streams that are terminals, while something stands at the foot.

    Args:
        foot: What stands there.
    """

    def __init__(self, foot: Foot) -> None:
        self._foot = foot
        self._patched: list[tuple[TextIO, dict[str, Any]]] = []

    def begin(self) -> None:
        """Let the streams write above the foot."""
        for stream in (sys.stdout, sys.stderr):
            if is_terminal(stream):
                self._patch(stream)

    def end(self) -> None:
        """Let the streams write as before."""
        while self._patched:
            stream, methods = self._patched.pop()
            own = getattr(stream, "__dict__", {})
            for name, method in methods.items():
                if own.get(name) is method:  # Somebody else may have come on top meanwhile.
                    del own[name]

    def _patch(self, stream: TextIO) -> None:
        methods: dict[str, Any] = {
            "write": self._written_above(stream),
            "fileno": self._stepped_aside(stream),
        }
        with suppress(AttributeError, TypeError):  # Other streams may take no attributes.
            for name, method in methods.items():
                setattr(stream, name, method)
            self._patched.append((stream, methods))

    def _written_above(self, stream: TextIO) -> Callable[[str], int]:
        write, foot = stream.write, self._foot

        def write_above(text: str) -> int:
            with foot.above(text):
                count = write(text)
                stream.flush()  # Else the foot comes first.
            return count

        return write_above

    def _stepped_aside(self, stream: TextIO) -> Callable[[], int]:
        fileno, foot = stream.fileno, self._foot

        def step_aside() -> int:
            # A prompt of `input`, and a program that is given the number, write without the stream.
            with foot.above(None):
                return fileno()

        return step_aside


def is_terminal(stream: object) -> bool:
    """Whether a stream is a terminal. It may be closed, None, or an object that has `write`."""
    try:
        return bool(cast("Any", stream).isatty())
    except Exception:  # noqa: BLE001 - of an object of the program
        return False
