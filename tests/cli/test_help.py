"""`--help`, `--version`, and words that are wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from cli import invoke, spawn
from order_store import store_orders

from aiocheckpoint import __version__
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import MEANINGS, ExitCode
from aiocheckpoint._cli.parsers import load_command

if TYPE_CHECKING:
    from pathlib import Path


def test_no_command_prints_help() -> None:
    """Without a command the help comes, with a code that stops a script."""
    done, helped = invoke(), invoke("--help")
    assert (done.code, helped.code) == (2, 0)
    assert done.out == helped.out
    assert (done.err, helped.err) == ("", "")


def test_help_lists_all() -> None:
    """The help has each command with its summary, and each exit code with its meaning."""
    text = invoke("--help").out
    listed = re.findall(r"^  ([a-z]+)  +(\S.*)$", text, re.MULTILINE)
    assert dict(listed).items() >= SUMMARIES.items()
    codes = re.findall(r"^ +(\d+)  (\S.*)$", text, re.MULTILINE)
    assert {int(code): meaning for code, meaning in codes} == MEANINGS
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_of_a_command(name: str) -> None:
    """Each command has a usage, a summary that does not repeat its name, and an example."""
    done = invoke(name, "--help", env={"COLUMNS": "100"})
    command = load_command(name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: aiocheckpoint {name} ")
    assert f"{command.summary}.\n" in done.out
    assert f"  {command.example}" in done.out
    assert (command.name, command.summary) == (name, SUMMARIES[name])
    assert command.summary.lower().split()[0] != name
    assert command.example.startswith(f"aiocheckpoint {name} ")
    assert not re.search(r"(^|\s)-[a-z]\b", command.example), "long options in examples"


def test_version() -> None:
    """The version is that of the library."""
    assert invoke("--version") == (0, f"aiocheckpoint {__version__}\n", "")


WRONG = {
    "counts orders.db": "Did you mean 'count'?",
    "xyzzy": "there is no command 'xyzzy'",
    "list": "Did you mean 'runs'?",
    "help": "Did you mean '--help'?",
    "orders.db count": "The command comes first: aiocheckpoint count orders.db.",
    "runs orders.db --satus failed": "Did you mean '--status'?",
    "runs orders.db --status finnished": "Did you mean 'finished'?",
    "runs orders.db --output yaml": "invalid choice: 'yaml'",
    "runs orders.db --tried often": "invalid int value: 'often'",
    "runs orders.db --tried 0": "--tried counts attempts",
    "runs orders.db --since soon": "'soon' is no time",
    "runs orders.db --since 99999999999d": "is too long",
    "runs orders.db order-1": "a word too many",
    "runs": "no target is given",
    "count orders.db --by colour": "by status, step, error, day",
    "count orders.db --by step,eror": "Did you mean 'error'?",
    "show orders.db a b": "a word too many",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words(words: str, tmp_path: Path) -> None:
    """What is wrong, and what was meant, comes on stderr, with exit code 2."""
    done = invoke(*words.split(), cwd=store_orders(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert WRONG[words] in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "words",
    ["terminate --status", "run --secret-env", "compact --yes", "runs --verbose", "lst"],
)
def test_words_that_are_not_close(words: str, tmp_path: Path) -> None:
    """What is not close to any known word leads to no guess."""
    done = invoke(*words.split(), cwd=tmp_path)
    assert done.code == 2
    assert "Did you mean" not in done.err


def test_python_dash_m() -> None:
    """`python -m aiocheckpoint` is the same program."""
    assert spawn("--help") == invoke("--help")
