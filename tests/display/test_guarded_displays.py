"""Displays never break a run: whatever they raise, wherever Ctrl-C comes, in a forked child too."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._concurrency.workers import Worker
from aiocheckpoint._display.html import MOST_BYTES
from aiocheckpoint._display.live import choosing, displays, lines, screen, streams
from aiocheckpoint._display.live.live_runs_card import LiveRunsCard
from aiocheckpoint.events import StepFailed, StepStarted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bar_terminals import Tty
    from support import Runner

    from aiocheckpoint._display.live.displays import ProgressWord

FAILED = "The display of progress has failed. The run continues without one: "


def flow(folder: Path, act: Callable[[], object] = int) -> CheckpointFlow[dict[str, Any]]:
    """A flow of one step, which does something."""
    cp = CheckpointFlow(folder / "orders.pkl")

    @cp.add_step()
    def step(state: dict[str, Any]) -> None:
        act()
        state["done"] = True

    return cp


class Stream:
    """An object in the place of stderr, each of whose methods raises."""

    encoding = None

    def isatty(self) -> bool:
        """Fail."""
        raise OSError("no terminal")

    def write(self, text: str) -> int:
        """Fail."""
        raise RuntimeError("no stream")

    def flush(self) -> None:
        """Fail."""
        raise RuntimeError("no stream")


@pytest.mark.parametrize("word", ["bar", "lines", "auto"])
@pytest.mark.parametrize("stream", [Stream(), SimpleNamespace(isatty=lambda: True), None])
def test_odd_streams(
    word: ProgressWord, stream: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stderr that is no stream ends the display, not the run."""
    monkeypatch.setattr(sys, "stderr", stream)
    assert flow(tmp_path).run({}, progress=word) == {"done": True}


def test_a_log_that_raises(tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log writes to the same closed stream as the display, and raises as well."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("I/O operation on closed file.")

    handler = Raising()
    logger = logging.getLogger("aiocheckpoint")
    logger.addHandler(handler)
    try:
        with (tmp_path / "stream").open("w") as closed:
            pass
        monkeypatch.setattr(sys, "stderr", closed)
        cp = flow(tmp_path)
        cp._core.settings.listeners.add(fail)  # noqa: SLF001 - of a hearer
        assert runner(cp, {}, progress="lines") == {"done": True}
    finally:
        logger.removeHandler(handler)


def fail(*_: object) -> None:
    """Fail."""
    raise ZeroDivisionError("of the display")


@pytest.mark.parametrize("where", ["make_lines", "hear", "close"])
def test_displays_that_raise(
    where: Literal["make_lines", "hear", "close"],
    tmp_path: Path,
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error of making, hearing and closing a display is logged once, and the run goes on."""
    owner: Any = lines if where == "make_lines" else lines._RunLines  # noqa: SLF001
    monkeypatch.setattr(owner, where, fail)
    assert runner(flow(tmp_path), {}, progress="lines") == {"done": True}
    (record,) = caplog.records
    assert record.getMessage() == f"{FAILED}ZeroDivisionError: of the display"


def test_many_runs_with_a_display_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The results of many runs come, whatever becomes of their display."""
    monkeypatch.setattr(lines._RunsLines, "close", fail)  # noqa: SLF001
    results = flow(tmp_path / "runs").map({"a": {}, "b": {}}, progress="lines")
    assert [one.state for one in results] == [{"done": True}] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{FAILED}ZeroDivisionError: of the display"
    ]


def test_a_shell_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An IPython that raises gives no display."""
    monkeypatch.setattr(choosing, "notebook_shell", fail)
    assert flow(tmp_path).run({}) == {"done": True}
    assert len(caplog.records) == 1


PLACES: dict[str, tuple[Any, str]] = {
    "at the end of the block": (displays.DisplayBlock, "__exit__"),
    "while it begins": (streams.WatchedStreams, "begin"),
    "while it enters": (screen.Screen, "begin"),
    "in its first lines": (screen.Screen, "leave"),
    "in its last lines": (screen.Screen, "_say_ends"),
    "while the streams are given back": (streams.WatchedStreams, "end"),
    "in the wait": (Worker, "join"),
    "behind the wait": (screen.Screen, "_forget"),
}


@pytest.mark.parametrize("place", PLACES)
def test_interrupted(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tty: Tty) -> None:
    """Ctrl-C at any line of a bar leaves neither a screen, nor a stream that writes above it."""
    tty.begin()
    owner, name = PLACES[place]
    method, calls = getattr(owner, name), list[None]()

    def interrupted(self: object, *args: Any) -> object:  # noqa: ANN401
        if threading.current_thread() is threading.main_thread():
            calls.append(None)
            if len(calls) == 1:
                raise KeyboardInterrupt
        return method(self, *args)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow(tmp_path).run({}, progress="bar")
    assert screen._screens == []  # noqa: SLF001 - nothing else tells
    assert not {"write", "fileno"} & {*vars(sys.stdout), *vars(sys.stderr)}
    monkeypatch.undo()
    tty.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
def test_a_forked_child_ends_as_it_says(tmp_path: Path, tty: Tty) -> None:
    """An exit in a child of a step comes out of the run there, under a bar too."""
    codes: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            raise SystemExit(7)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    tty.begin()
    cp, parent = flow(tmp_path, fork), os.getpid()
    try:
        cp.run({}, progress="bar")
    except BaseException as error:
        if os.getpid() != parent:
            os._exit(7 if isinstance(error, SystemExit) else 1)
        raise
    assert codes == [7]


def test_the_card_of_many_has_a_bound() -> None:
    """Names and ids of a million marks that take no column fit into a card of 20 KB."""
    marks = "\u0301" * 1_000_000
    card = LiveRunsCard(displays.DisplaySubject(f"f{marks}", None, "here", many=True, total=30))
    for number in range(30):
        run: dict[str, Any] = {"flow": "f", "run_id": f"{number}{marks}<&>", "number": 1}
        step: dict[str, Any] = {"index": 0, "of": 1, "step": f"s{marks}", "attempt": 1}
        card.take(StepStarted(**run, **step))
        if number % 2:
            end: dict[str, Any] = {
                "part": "step",
                "error": OSError(),
                "seconds": 0.0,
                "cancelled": False,
            }
            card.take(StepFailed(**run, **step, **end))
    html, text = card.drawn()
    assert len(html.encode()) <= MOST_BYTES
    assert len(text.encode()) <= MOST_BYTES
