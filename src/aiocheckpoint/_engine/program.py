"""The program that this process executes, and the command line that executes it again."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._concurrency import forks
from aiocheckpoint._model.given_state import call_site

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["CallingScript", "calling_script", "is_temporary", "note_ended"]

_MAIN = "__main__"
_WITH_VALUE = frozenset({"-W", "-X"})
"""Options of Python whose value may be a word of its own."""


class _History:
    """What this process has done so far.

    Attributes:
        has_ended_run: Whether a run has ended in it without an exception.
    """

    def __init__(self) -> None:
        self.has_ended_run = False


_HISTORY = _History()


def note_ended() -> None:
    """Note that a run has ended without an exception in this process."""
    _HISTORY.has_ended_run = True


class CallingScript(NamedTuple):
    """The script that has called a run.

    Attributes:
        command: The words of the command line up to the script, such as `python train.py`.
        arguments: The words after it. They may hold secrets, and notes are logged.
    """

    command: list[str]
    arguments: list[str]


def calling_script() -> CallingScript | None:
    """The script that has called a run, where its command line is certain to call it again.

    It is certain where the script itself has called the run, and no run has ended well in this
    process, which the command would run again.

    Returns:
        The script. None where the command is not certain.
    """
    # A process that `multiprocessing` has started calls its script `__mp_main__`.
    if _HISTORY.has_ended_run or forks.is_forked() or call_site().module != _MAIN:
        return None
    return _own_command(sys.modules[_MAIN])


def is_temporary(location: str) -> bool:
    """Whether a location is in the directory of temporary files, and not below the working one.

    Another process usually has another temporary directory.
    """
    directory = getattr(sys.modules.get("tempfile"), "tempdir", None)
    if directory is None:  # Nobody has asked for it in this process.
        return False
    temporary, working = (os.path.join(path, "") for path in (directory, os.getcwd()))
    below = working != temporary and location.startswith(working)
    return location.startswith(temporary) and not below


def _own_command(main: ModuleType) -> CallingScript | None:
    """The script that this process's command line names, with its arguments.

    None where no script was started by its path or by `-m`.
    """
    python, *words = sys.orig_argv
    if not os.path.basename(python).startswith("python") or getattr(main, "__file__", None) is None:
        return None
    spec = main.__spec__
    name = sys.argv[0] if spec is None else spec.name.removesuffix(f".{_MAIN}")
    if name not in words or name == "-":  # The standard input cannot be read again.
        return None
    end = words.index(name) + 1
    options = words[: end - 1]
    if spec is not None and (not options or options.pop() != "-m"):
        return None
    script = CallingScript([python, *words[:end]], words[end:])
    return script if _are_options(options) else None


def _are_options(words: list[str]) -> bool:
    """Whether words are options of Python, and none of them names another program."""
    before = ""
    for word in words:
        if before not in _WITH_VALUE and (word in {"-m", "-c"} or not word.startswith("-")):
            return False
        before = "" if before in _WITH_VALUE else word
    return True
