"""What a user sees of an exception: the frames of its traceback, and the printed lines."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import aiocheckpoint

if TYPE_CHECKING:
    from types import TracebackType

PACKAGE = str(Path(aiocheckpoint.__file__).parent)


def frames(error: BaseException) -> list[str]:
    """Name the functions of a traceback from the library on, with "lib:" before its own."""
    found = list[str]()
    tb: TracebackType | None = error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        own = code.co_filename.startswith(PACKAGE) or _is_generated(tb)
        if own or found:
            found.append(f"lib:{code.co_name}" if own else code.co_name)
        tb = tb.tb_next
    return found


def own_frames(error: BaseException) -> list[str]:
    """Name the library's functions in a traceback."""
    return [name for name in frames(error) if name.startswith("lib:")]


def printed(error: BaseException) -> str:
    """The text that Python prints for an uncaught exception, its causes included."""
    return "".join(traceback.format_exception(error))


def _is_generated(tb: TracebackType) -> bool:
    """Whether the frame is that of a method which `dataclass` made for the library."""
    name = str(tb.tb_frame.f_globals.get("__name__", ""))
    return tb.tb_frame.f_code.co_filename == "<string>" and name.startswith("aiocheckpoint.")
