"""Messages of the library in words of the shell: options and commands for arguments and methods."""

from __future__ import annotations

import re

__all__ = ["in_shell_words"]

_PHRASES = {
    "Wait for it with wait=<seconds>, or use another path or run_id": "Try again when it has ended",
    "wait for it with wait=<seconds>, or use another path or run_id": "try again when it has ended",
    "A wait=, or a longer one, waits for the pause. ": "",
    " of this run: ": ": ",
    ", reset() included. Give the checkpoint another path, or move the file away.": (
        ". Is it the right target?"
    ),
    "delete it and start anew: with reset(), of a run with an id with reset(run_id=...).": (
        "forget the run by the command delete."
    ),
    "resume() with update=": "the command approve",
    "values= of patch()": "--set",
    "unset= of patch()": "--unset",
    "Is the run_id right?": "Is the id right?",
    "A worker or resume_all()": "A worker or the command resume package.module:flow --all",
}
_OPTIONS = {
    "answers": "--answers",
    "checkpoint": "--checkpoint",
    "older_than": "--older-than",
    "reason": "--reason",
    "unset": "--unset",
    "until": "--until",
    "update": "--set",
    "values": "--set",
}
_OF_COMMAND = {
    "retry": {"checkpoint": "--from"},
    "patch": {"checkpoint": "--goto"},
    "run": {"update": "--update"},
}
"""Options that have another name in some command."""
_COMMANDS = {
    "aresume_all": "resume package.module:flow --all",
    "arun": "run",
    "header": "show",
    "patch": "patch",
    "read": "show --values",
    "requeue": "requeue",
    "arequeue": "requeue",
    "resume": "resume",
    "run": "run",
    "runs": "runs",
    "submit": "submit",
    "terminate": "terminate",
}
_OF_HANDLER = r" and write\(| of "
"""What follows on a method that a class of the user's has. No command stands for it."""
_PHRASE = re.compile("|".join(map(re.escape, _PHRASES)))
_CALL = re.compile(
    rf"(?<![\w.])(?<!Its )({'|'.join(_COMMANDS)})\((?:'[^']*')?\)(?:\.\w+)?(?!{_OF_HANDLER})"
)
_CODE = r"\w+\([^()]*=[^()]*\)"
_ARGUMENT = re.compile(rf"{_CODE}|\b({'|'.join(_OPTIONS)})=(?=('|\d|<)?)")


def in_shell_words(text: str, command: str = "") -> str:
    """Write a message for people at a shell.

    Arguments of a call that is shown as code stay, as such code stands in a program.

    Args:
        text: The message.
        command: The command that it is of.
    """
    options = _OPTIONS | _OF_COMMAND.get(command, {})
    text = _PHRASE.sub(lambda found: _PHRASES[found[0]], text)
    text = _CALL.sub(_command, text)
    return _ARGUMENT.sub(
        lambda found: options[found[1]] + " " * bool(found[2]) if found[1] else found[0], text
    )


def _command(call: re.Match[str]) -> str:
    begins = call.string[: call.start()].endswith(". ")
    return f"{'The' if begins else 'the'} command {_COMMANDS[call[1]]}"
