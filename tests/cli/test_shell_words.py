"""Messages of the library at a shell have options and commands, not arguments and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from shop import make_shop

from aiocheckpoint import RunInProgressError
from aiocheckpoint._cli.refusals import refusal_words
from aiocheckpoint._cli.shell_words import in_shell_words

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "answers=7: pauses are numbered": "--answers 7: pauses are numbered",
    "checkpoint='pay' is none": "--checkpoint 'pay' is none",
    "choose it by checkpoint=<name or index>.": "choose it by --checkpoint <name or index>.",
    "Answer it by resume() with update=, or": "Answer it by the command approve, or",
    "by patch(<values>, checkpoint=<name>)": "by patch(<values>, checkpoint=<name>)",
    "It ends. resume('r') goes on": "It ends. The command resume goes on",
    "my_run() and xuntil=3": "my_run() and xuntil=3",
    "cp.run() of a program": "cp.run() of a program",
    "a class with read() and write(state).": "a class with read() and write(state).",
    "read() of Own('x') must return a dict": "read() of Own('x') must return a dict",
    "Its read() gives that dict.": "Its read() gives that dict.",
    "No key. read() gives the state.": "No key. The command show --values gives the state.",
    "read('r') gives its state": "the command show --values gives its state",
}


@pytest.mark.parametrize("text", TEXTS)
def test_words(text: str) -> None:
    """Arguments and methods are translated where they stand in a sentence, and not in code."""
    assert in_shell_words(text) == TEXTS[text]


COMMANDS = {
    "approve": ("--set is for a run that is paused", "update="),
    "retry --from chrge": ("--from 'chrge'", "checkpoint="),
    "patch --goto chrge --yes": ("--goto 'chrge'", "checkpoint="),
    "patch --unset nothing --yes": ("--unset names the key 'nothing'", "unset="),
}


@pytest.mark.parametrize("words", COMMANDS)
def test_messages_of_commands(words: str, tmp_path: Path) -> None:
    """The message of a refused command has the options of that command."""
    shown, hidden = COMMANDS[words]
    command, *options = words.split()
    with make_shop(tmp_path) as shop:
        shop.run("x", 0)
        done = shop.does(command, "x", *options)
    assert (bool(done.code), shown in done.err, hidden in done.err) == (True, True, False)
    assert "()" not in done.err


def test_run_in_use() -> None:
    """A run that somebody runs is not to be waited for by an argument."""
    words = in_shell_words(str(RunInProgressError("orders/x.pkl", pid=1)))
    assert "wait=" not in words
    assert "run_id" not in words
    assert "()" not in refusal_words(RunInProgressError("orders/x.pkl", pid=1))
