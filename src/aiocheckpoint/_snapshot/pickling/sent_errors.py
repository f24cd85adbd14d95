"""Exceptions that are sent from one process to another."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint._snapshot.pickling.serializer import dump, load
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint._tracebacks import user_frames

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["SentError", "SentTraceback", "packed_error", "unpacked_error"]


# A class of a user, such as a frozen dataclass, may refuse that these attributes are set.
_set_cause = vars(BaseException)["__cause__"].__set__
_set_context = vars(BaseException)["__context__"].__set__


class SentTraceback(Exception):  # noqa: N818 - the cause of an error, and none itself
    """The cause of an exception that was sent: its traceback in the other process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class SentError(NamedTuple):
    """An exception on its way.

    Attributes:
        stream: The exception, pickled. None where it cannot be.
        notes: Its notes.
        kind: The name of its type.
        text: Its text with its traceback.
    """

    stream: bytes | None
    notes: tuple[str, ...]
    kind: str
    text: str


def packed_error(error: BaseException) -> SentError:
    """Make what travels of an exception. It raises nothing, whatever the exception's class does."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    try:
        notes = tuple(map(str, getattr(error, "__notes__", ())))
        lines = traceback.format_exception(type(error), error, user_frames(error))
        text = "".join(lines)
    except Exception as second:  # noqa: BLE001 - methods of a user's class raise anything
        notes, text = (), f"<no text: {type(second).__name__}>"
    return SentError(_pickled(error), notes, kind, text)


def unpacked_error(sent: SentError, modules: StepModules = NO_MODULES) -> BaseException | None:
    """Load an exception that was sent, with its notes, and its traceback as its cause.

    Args:
        sent: What travelled.
        modules: The modules of the steps, where names are looked for as well.

    Returns:
        The exception. None where it could not be pickled, or cannot be loaded here.
    """
    if sent.stream is None:
        return None
    try:
        error: object = load(MemoryTarget(sent.stream), modules=modules)
    except (Exception, SystemExit):  # noqa: BLE001 - classes of users raise anything when loaded
        return None
    if not isinstance(error, BaseException):
        return None
    with suppress(Exception):  # A frozen dataclass, for one, refuses notes.
        for note in sent.notes:
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
    _set_cause(error, SentTraceback(sent.text))
    return error


def _pickled(error: BaseException) -> bytes | None:
    """Pickle an exception. None if it cannot be, or would not load again.

    Without its traceback and causes, which some engines let pickle take along, frames and all.
    """
    memory = MemoryTarget()
    apart = error.__traceback__, error.__cause__, error.__context__
    try:
        error.with_traceback(None)
        _set_cause(error, None)
        _set_context(error, None)
        dump(error, memory)
        loads = isinstance(load(memory.read_back()), type(error))
    except (Exception, SystemExit):  # noqa: BLE001 - as above
        return None
    finally:
        error.with_traceback(apart[0])
        _set_cause(error, apart[1])
        _set_context(error, apart[2])
    return memory.getvalue() if loads else None
