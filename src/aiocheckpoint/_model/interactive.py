"""Whether a person at a prompt executes the code, and which execution is under way."""

from __future__ import annotations

import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Execution", "is_interactive"]


def is_interactive() -> bool:
    """Whether this is a notebook, IPython, or a Python at its prompt or under `-i`."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or _ipython() is not None


class Execution:
    """One execution of a cell, of a statement at the prompt, or of a script.

    In IPython it is known by its count, because a cell is compiled statement by statement.
    Elsewhere it is known by the code of the outermost frame in `__main__`.
    """

    __slots__ = ("_code", "_count")

    def __init__(self, count: int | None = None, code: CodeType | None = None) -> None:
        self._count = count
        self._code = None if code is None else weakref.ref(code)

    def __reduce__(self) -> tuple[type[Execution], tuple[()]]:
        """Be pickled as an execution that has ended."""
        return Execution, ()

    @classmethod
    def current(cls) -> Execution:
        """Give the execution that is under way."""
        shell = _ipython()
        return cls(code=_outermost_code()) if shell is None else cls(shell.execution_count)

    def is_under_way(self) -> bool:
        """Whether it is the current one."""
        shell = _ipython()
        if shell is not None:
            return bool(self._count == shell.execution_count)
        # By identity: the code of a statement that is typed twice is equal.
        return self._code is not None and self._code() is _outermost_code()


def _ipython() -> Any:  # noqa: ANN401 - IPython's shell
    """The shell of IPython, or None. IPython is never imported for it."""
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get is None else get()


def _outermost_code() -> CodeType | None:
    main, found = getattr(sys.modules.get("__main__"), "__dict__", None), None
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if found is None or frame.f_globals is main or found.f_globals is not main:
            found = frame
        frame = frame.f_back
    return None if found is None else found.f_code
