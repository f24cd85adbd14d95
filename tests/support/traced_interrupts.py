"""Simulates Ctrl-C at every point where the interpreter checks for signals, one point a test."""

from __future__ import annotations

import contextlib
import dis
import gc
import sys
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import CodeType, FrameType

_LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")


@lru_cache
def _points(code: CodeType) -> frozenset[int]:
    """The points where handlers of signals are called: after calls, and at begins of functions."""
    found = list(dis.get_instructions(code))
    pairs = pairwise(found)
    return frozenset(after.offset for one, after in pairs if one.opname.startswith(_LOOKS))


class TracedInterrupt:
    """Raises KeyboardInterrupt in one of some functions, at the n-th point where Ctrl-C can come.

    Args:
        file: The end of the name of the files of the functions, or several ends.
        number: The n, from 1.

    Attributes:
        place: The name of the function where it was raised, empty before.
    """

    def __init__(self, file: str | tuple[str, ...], number: int) -> None:
        """Nothing is interrupted yet."""
        self._file = file
        self._left = number
        self.place = ""

    @contextlib.contextmanager
    def armed(self) -> Generator[None]:
        """Interrupt this thread, for the time of a `with` block.

        No garbage is collected meanwhile: a finalizer in it would be interrupted instead.
        """
        before = sys.gettrace()  # for example, the trace function of coverage
        collects = gc.isenabled()
        gc.disable()
        # Python 3.12.1 traces instructions only where a frame has asked for it before `settrace`.
        sys._getframe().f_trace_opcodes = True  # noqa: SLF001
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)
            if collects:
                gc.enable()

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        if not frame.f_code.co_filename.endswith(self._file):
            return None
        frame.f_trace_opcodes = True
        return self._look

    def _look(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        if event == "opcode" and not self.place and frame.f_lasti in _points(frame.f_code):
            self._left -= 1
            if not self._left:
                self.place = frame.f_code.co_qualname
                raise KeyboardInterrupt
        return self._look
