"""The program that this process executes, and the command line that executes it again."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks
from aiocheckpoint._model.given_state import call_site

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["is_temporary", "note_ended", "script_command"]

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


def script_command(run_id: str | None) -> list[str] | None:
    """The words of the command line of the script that has called a run, such as `python train.py`.

    It is given where it is certain to resume the run: the script itself has called the run, and no
    run has ended well in this process, which the command would run again. The run has no id, or its
    id is an argument of the script. Other arguments may hold secrets, and notes are logged.

    Args:
        run_id: The run.

    Returns:
        The words. None where the command is not certain.
    """
    # A process that `multiprocessing` has started calls its script `__mp_main__`.
    if _HISTORY.has_ended_run or forks.is_forked() or call_site().module != _MAIN:
        return None
    command = _own_command(sys.modules[_MAIN])
    if command is None:
        return None
    words, arguments = command
    named = [] if run_id is None else [run_id]
    return [*words, *arguments] if arguments == named else None


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


def _own_command(main: ModuleType) -> tuple[list[str], list[str]] | None:
    """The words of this process's command line up to the script, and the arguments after it.

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
    return ([python, *words[:end]], words[end:]) if _are_options(options) else None


def _are_options(words: list[str]) -> bool:
    """Whether words are options of Python, and none of them names another program."""
    before = ""
    for word in words:
        if before not in _WITH_VALUE and (word in {"-m", "-c"} or not word.startswith("-")):
            return False
        before = "" if before in _WITH_VALUE else word
    return True
