"""A program that interrupts itself on the lines of the library: `ctrl_c_script.py KIND STRIDE DIR`.

It prints what went wrong, and in the end how many lines there were. It is a program of its own
because an interrupt between the opening of a file and its use cannot but lose a descriptor.
"""

from __future__ import annotations

import itertools
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suspension_points import NAMES, Subject

import aiocheckpoint

if TYPE_CHECKING:
    from types import FrameType

LIBRARY = str(Path(aiocheckpoint.__file__).parent)


class Interrupter:
    """Raises KeyboardInterrupt on the n-th line of the library that this thread executes.

    Attributes:
        interrupted: Where it has raised.
    """

    def __init__(self, number: int) -> None:
        """Count from 1."""
        self._left = number
        self.interrupted = ""

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        """Trace a frame, as `sys.settrace` has it."""
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.interrupted = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt(self.interrupted)
        return self


def interrupt(number: int, subject: Subject) -> str:
    """Run until the n-th line, and tell where that was, or nothing if the run has ended."""
    cp = subject.flow()
    interrupter = Interrupter(number)
    sys.settrace(interrupter)
    came: tuple[object, ...] = ("",)
    try:
        cp.run({"trail": []})
    except KeyboardInterrupt as error:
        came = error.args
    finally:
        sys.settrace(None)
    assert came == (interrupter.interrupted,), f"{interrupter.interrupted} swallowed it"
    return interrupter.interrupted


def check_resumes(subject: Subject) -> None:
    """See that the next run does the rest, and clears what was left."""
    done = subject.position() % len(NAMES)
    subject.ran.clear()
    state = subject.flow().run({"trail": []})
    assert state == {"trail": [*NAMES]}, state
    assert subject.ran == [*NAMES[done:]], subject.ran
    left = [path.name for path in subject.path.parent.iterdir()]
    assert left == [subject.path.name], left


def main() -> None:
    """Interrupt a run on each line, one after another."""
    kind, stride, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    logging.getLogger("aiocheckpoint").setLevel(logging.ERROR)
    for number in itertools.count(1, stride):
        subject = Subject(place / str(number) / "checkpoint.pkl", kind, hooked=False)
        interrupted = interrupt(number, subject)
        if not interrupted:
            break
        try:
            check_resumes(subject)
        except Exception as error:  # noqa: BLE001
            sys.stdout.write(f"after {interrupted}: {type(error).__name__}: {error}\n")
    sys.stdout.write(f"{number} lines\n")


if __name__ == "__main__":
    main()
