"""Stands for Ctrl-C wherever the interpreter looks for signals: a test interrupts there in turn."""

from __future__ import annotations

import contextlib
import dis
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
    """Where the handlers of signals are called: behind calls, and where functions begin."""
    found = list(dis.get_instructions(code))
    pairs = pairwise(found)
    return frozenset(after.offset for one, after in pairs if one.opname.startswith(_LOOKS))


class TracedInterrupt:
    """Raises KeyboardInterrupt in one of some functions, the n-th time that it could come there.

    Args:
        file: The end of the name of the files where they are.
        number: The n, from 1.

    Attributes:
        place: The name of the function where it was raised, empty before.
    """

    def __init__(self, file: str, number: int) -> None:
        """Nothing is interrupted yet."""
        self._file = file
        self._left = number
        self.place = ""

    @contextlib.contextmanager
    def armed(self) -> Generator[None]:
        """Interrupt this thread, for the time of a `with` block."""
        before = sys.gettrace()  # that of a measurement of coverage, for one
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

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
