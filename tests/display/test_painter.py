"""The thread that paints a display: when it paints, that it ends, and what becomes of errors."""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint._display.live import painter as module
from aiocheckpoint._display.live.painter import Painter, count_painters

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0
NAME = "aiocheckpoint-display"


class Canvas:
    """What a painter paints on: the values of `state` at each picture."""

    def __init__(self) -> None:
        self.state = 0
        self.seen: list[int] = []
        self._changed = threading.Condition()

    def paint(self) -> None:
        """Paint the present state."""
        with self._changed:
            self.seen.append(self.state)
            self._changed.notify_all()

    def wait_for(self, pictures: int) -> None:
        """Wait until there are so many pictures."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= pictures, PATIENCE)


def painting() -> list[threading.Thread]:
    """The threads of painters."""
    return [one for one in threading.enumerate() if one.name == NAME]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a minute between two pictures."""
    for name in ("PAINT_SECONDS", "TICK_SECONDS", "_MOST_SECONDS"):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a moment between two pictures."""
    for name in ("PAINT_SECONDS", "TICK_SECONDS", "_MOST_SECONDS"):
        monkeypatch.setattr(module, name, 0.001)


def test_no_thread_without_an_event() -> None:
    """A painter that hears nothing starts no thread, and paints nothing."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders")
    assert not painting()
    painter.close()
    assert canvas.seen == []


@pytest.mark.usefixtures("slow")
def test_a_thousand_events_are_two_pictures() -> None:
    """Between two pictures events cost no further one, and the last state is always painted."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders")
    painter.wake()
    canvas.wait_for(1)
    for number in range(1, 1_001):
        canvas.state = number
        painter.wake()
    painter.close()
    assert canvas.seen == [0, 1_000]
    assert not painting()


@pytest.mark.usefixtures("quick")
def test_it_goes_on_without_events() -> None:
    """Times go on, so that it is painted while nothing changes."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders")
    painter.wake()
    canvas.wait_for(4)
    painter.close()
    assert not painting()


@pytest.mark.usefixtures("slow")
def test_an_event_while_it_waits() -> None:
    """An event is painted at once where the last picture is long ago."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAINT_SECONDS", 0.0)
        painter.wake()
        canvas.wait_for(1)
        canvas.state = 1
        painter.wake()
        canvas.wait_for(2)
    painter.close()
    assert canvas.seen[:2] == [0, 1]


@pytest.mark.usefixtures("slow")
def test_late_and_never() -> None:
    """A display that is closed before its time is never painted."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders", late=60.0)
    painter.wake()
    painter.close()
    assert canvas.seen == []
    assert not painting()


@pytest.mark.usefixtures("slow")
def test_late_and_seen() -> None:
    """A display whose time has come is painted, and its last state as well."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders", late=0.001)
    painter.wake()
    canvas.wait_for(1)
    canvas.state = 1
    painter.close()
    assert canvas.seen == [0, 1]


def test_an_error_of_the_display(caplog: pytest.LogCaptureFixture) -> None:
    """What a picture raises is logged once, and the display is gone."""
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("the socket is closed")

    painter = Painter(fail, "orders")
    painter.wake()
    assert failed.wait(PATIENCE)
    painter.close()
    painter.wake()
    (record,) = caplog.records
    assert record.getMessage() == (
        "The display of progress has failed. The run continues without one: "
        "OSError: the socket is closed"
    )
    assert (record.levelname, record.exc_info, painter.is_over) == ("WARNING", None, True)
    assert not painting()


def test_a_display_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events never wait for a picture, and the end waits for the last one for a while alone."""
    monkeypatch.setattr(module, "_LAST_SECONDS", 0.01)
    free, begun, returned = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        free.wait(PATIENCE)
        returned.set()

    painter = Painter(hang, "orders")
    painter.wake()
    assert begun.wait(PATIENCE)
    painter.wake()
    painter.close()
    assert not returned.is_set()
    free.set()
    for thread in painting():
        thread.join()


@pytest.mark.usefixtures("slow")
def test_context_of_the_call() -> None:
    """It paints in the context of the call, where a notebook knows the cell."""
    cell: ContextVar[str] = ContextVar("cell", default="none")
    seen: list[str] = []
    cell.set("third")
    painter = Painter(lambda: seen.append(cell.get()), "orders")
    cell.set("fourth")
    threading.Thread(target=painter.wake).start()
    painter.wake()
    painter.close()
    assert set(seen) == {"third"}


@pytest.mark.usefixtures("slow")
def test_many_threads_begin_one() -> None:
    """The first events of many threads start one thread."""
    canvas, together = Canvas(), threading.Barrier(8)
    painter = Painter(canvas.paint, "orders")

    def hear() -> None:
        together.wait()
        painter.wake()

    threads = [threading.Thread(target=hear) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    canvas.wait_for(1)
    assert len(painting()) == 1
    assert count_painters() == 1
    painter.close()
    assert count_painters() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
@pytest.mark.usefixtures("slow")
def test_a_forked_child_paints_nothing() -> None:
    """A child has no such thread. Its display is over, and takes events and the end in silence."""
    canvas = Canvas()
    painter = Painter(canvas.paint, "orders")
    painter.wake()
    canvas.wait_for(1)
    assert exit_code_of(lambda: in_child(painter, canvas)) == 0
    painter.close()
    assert canvas.seen == [0, 0]


def in_child(painter: Painter, canvas: Canvas) -> bool:
    """Use a painter in a child, and tell whether that did nothing."""
    painter.wake()
    painter.close()
    return painter.is_over and canvas.seen == [0]


def exit_code_of(function: Callable[[], bool]) -> int:
    """Call a function in a forked child. 0 where it gives true."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(not function())
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
