"""Collections that change while they are copied, as by a finalizer in the midst of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint._display.live import painter
from aiocheckpoint._engine.listeners import Listener, Listeners
from aiocheckpoint.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shrinking(dict["Listener", None]):
    """Loses its last item in the midst of the first copy."""

    has_shrunk = False

    def __iter__(self) -> Iterator[Listener]:
        """Give the items."""
        for one in super().__iter__():
            yield one
            if not self.has_shrunk:
                self.has_shrunk = True
                self.popitem()


def test_listeners_that_go_meanwhile() -> None:
    """A listener that goes while they are read is left out, and no error."""
    listeners, heard = Listeners(), list[Event]()
    known: list[Listener] = [heard.append, heard.remove, print]
    listeners.known = Shrinking(dict.fromkeys(known))
    assert listeners.current == tuple(known[:2])


def test_displays_that_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A display that begins while they are counted is counted, or not."""
    first = [painter.Painter(int, "orders") for _ in range(3)]

    class Growing(set[painter.Painter]):
        has_grown = False

        def __iter__(self) -> Iterator[painter.Painter]:
            for one in super().__iter__():
                yield one
                if not self.has_grown:
                    self.has_grown = True
                    self.add(painter.Painter(int, "orders"))

    monkeypatch.setattr(painter, "_living", Growing(first))
    assert painter.count_painters() == 4


def test_other_errors_come_out() -> None:
    """A stack that is full is no change."""

    def endless() -> Iterator[int]:
        yield 0
        raise RecursionError

    with pytest.raises(RecursionError):
        copied(endless())
