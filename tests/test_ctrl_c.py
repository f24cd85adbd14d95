"""Ctrl-C while `run` is under way, wherever it strikes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import PATIENCE
from piercing import NAMES, Subject
from support import add_with
from test_cancel_everywhere import at_point

import aiocheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from support import Lab, State

    from aiocheckpoint import CheckpointFlow

LIBRARY = str(Path(aiocheckpoint.__file__).parent)
FEWEST_LINES = 300


class CtrlC:
    """Raises KeyboardInterrupt on the n-th line of the library that is executed.

    Attributes:
        struck: Where it has raised.
    """

    def __init__(self, number: int) -> None:
        """Count from 1."""
        self._left = number
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        """Trace a frame, as `sys.settrace` has it."""
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.struck = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt(self.struck)
        return self

    @contextmanager
    def lurking(self) -> Generator[None]:
        """Trace this thread for a while."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


@pytest.mark.parametrize(("kind", "stride"), [("threads", 1), ("coroutines", 7)])
def test_ctrl_c_at_every_line_of_run(kind: str, stride: int, tmp_path: Path) -> None:
    """Wherever Ctrl-C strikes, it comes out, nothing stays locked, and the next run resumes."""
    for number in itertools.count(1, stride):
        path = tmp_path / str(number) / "checkpoint.pkl"
        subject = Subject(path, kind, hooked=kind == "coroutines")
        with at_point(number):
            if not is_struck_at(number, subject):
                break
            check_resumes(subject)
    assert number > FEWEST_LINES


def is_struck_at(number: int, subject: Subject) -> bool:
    """Run until Ctrl-C strikes."""
    cp = subject.flow()
    lurker = CtrlC(number)
    try:
        with lurker.lurking():
            cp.run({"trail": []})
    except KeyboardInterrupt as error:
        assert error.args == (lurker.struck,)  # noqa: PT017
        return True
    assert not lurker.struck, "Ctrl-C was swallowed"
    return False


def check_resumes(subject: Subject) -> None:
    """See that the next run does the rest, and clears what was left."""
    done = subject.position() % len(NAMES)
    subject.ran.clear()
    assert subject.flow().run({"trail": []}) == {"trail": [*NAMES]}
    assert subject.ran == [*NAMES[done:]]
    assert [path.name for path in subject.path.parent.iterdir()] == [subject.path.name]


def interrupted_flow(lab: Lab, part: str, *, asynchronous: bool) -> CheckpointFlow:
    """Make a flow in which somebody presses Ctrl-C while a part of step b is under way."""

    def press(state: State) -> State:
        state["half"] = True
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # where this is no main thread, that one gets the signal
        return {}

    async def apress(state: State) -> State:
        state["half"] = True
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(PATIENCE)
        return {}

    cp = lab.flow("a")
    add_with(cp, "b", part, apress if asynchronous else press)
    lab.add(cp, "c")
    return cp


def run_in_notebook(cp: CheckpointFlow) -> None:
    """Call `run` where a loop runs that does not care for Ctrl-C itself, as in a notebook."""

    async def cell() -> None:
        cp.run(None, "always")

    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(cell())


WAYS: dict[str, Callable[[CheckpointFlow], object]] = {
    "run": lambda cp: cp.run(None, "always"),
    "arun": lambda cp: asyncio.run(cp.arun(None, "always")),
    "notebook": run_in_notebook,
}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("part", ["load", "step", "save"])
@pytest.mark.parametrize("way", WAYS)
def test_signal_in_a_part(way: str, part: str, lab: Lab, *, asynchronous: bool) -> None:
    """A real Ctrl-C in any part comes out, is recorded as a cancellation, and the run resumes."""
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](interrupted_flow(lab, part, asynchronous=asynchronous))
    header = lab.header()
    assert (header.status, header.position) == ("cancelled", 1)
    assert header.failure is not None
    assert (header.failure.step, header.failure.part) == ("b", part)
    assert "half" not in lab.stored()
    lab.log.clear()
    assert lab.flow("a", "b", "c").run()["trail"] == ["a", "b", "c"]
    assert lab.ran() == ["b", "c"]
