"""What a command gets: runs by name, by lines or by filters, a flow to change, a question."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from order_store import store_orders

from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.command_parser import CommandParser
from aiocheckpoint._cli.context import Context
from aiocheckpoint._cli.log_records import told_by
from aiocheckpoint._cli.options import (
    add_output,
    add_runs,
    add_secret,
    add_target,
    add_write,
)
from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.problems import NeedsModuleTarget, UsageProblem
from aiocheckpoint._cli.target import target_and_runs
from aiocheckpoint._cli.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Terminal(None, None, colour=False, unicode=True)


def output_to(err: io.StringIO | None = None) -> Output:
    """An output to memory."""
    return Output(io.StringIO(), err or io.StringIO(), PLAIN)


def context_of(*words: str) -> Context:
    """The context of a command that changes runs."""
    parser = CommandParser("steer")
    add_target(parser)
    add_runs(parser, most=None)
    for add in (add_secret, add_output, add_write):
        add(parser)
    arguments = parser.parsed(words, {})
    target, runs = target_and_runs(arguments.words, arguments.target, parser.most_runs, {})
    return Context("steer", arguments, output_to(), target, runs)


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the database of orders."""
    monkeypatch.chdir(tmp_path)
    return store_orders(tmp_path)


CHOICES = {
    "a b": ["a", "b"],
    "-": ["c", "d e", "f"],
    "a - b": ["a", "c", "d e", "f", "b"],
}


@pytest.mark.parametrize("words", CHOICES)
def test_runs(words: str, orders: Path) -> None:
    """Runs are named, or are the lines of stdin."""
    stdin = io.StringIO("c\r\nd e\n\nf")
    with context_of("orders.db", *words.split()) as context, mock.patch("sys.stdin", stdin):
        assert list(context.run_ids()) == CHOICES[words]


def test_no_run_is_named(orders: Path) -> None:
    """No run at all is refused."""
    with context_of("orders.db") as context, pytest.raises(UsageProblem, match="name the runs"):
        list(context.run_ids())


def test_bare_store_has_no_code(orders: Path) -> None:
    """What needs the code of a flow says so, and which target would do."""
    with (
        context_of("orders.db") as context,
        pytest.raises(NeedsModuleTarget, match=r"orders\.db is a bare store.*package\.module:"),
    ):
        context.flow()


def test_bare_store_is_not_changed_by_mistake(orders: Path) -> None:
    """A bare store is changed under `--write` alone, by a flow without steps."""
    with (
        context_of("orders.db") as context,
        pytest.raises(UsageProblem, match="--write"),
    ):
        context.writable_flow()
    with context_of("orders.db", "--write") as context:
        assert context.writable_flow().name == "orders"
        assert "steps=[]" in repr(context.writable_flow())


ANSWERS: dict[str, tuple[int, str, bool]] = {
    "yes": (3, "yes\n", True),
    "y": (3, "Y\n", True),
    "no": (3, "no\n", False),
    "nothing": (3, "\n", False),
    "end": (3, "", False),
    "number of few": (3, "3\n", False),
    "yes to many": (101, "yes\n", False),
    "y to many": (101, "y\n", False),
    "number of many": (101, "101\n", True),
    "number with commas": (12_408, "12,408\n", True),
    "wrong number": (101, "100\n", False),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(case: str) -> None:
    """A few runs are confirmed by a yes, and more than 100 by their number."""
    count, typed, goes_on = ANSWERS[case]
    err = io.StringIO()
    with mock.patch("sys.stdin", _Typed(typed)):
        assert confirmed(output_to(err), "Delete?", count, yes=False) is goes_on
    assert err.getvalue().startswith("Delete? Type ")


def test_nobody_to_ask() -> None:
    """Where nobody can be asked, `--yes` is needed, and asks nobody."""
    with mock.patch("sys.stdin", io.StringIO("yes\n")):
        with pytest.raises(UsageProblem, match=r"Delete 3 runs\? .*--yes"):
            confirmed(output_to(), "Delete 3 runs?", 3, yes=False)
        assert confirmed(output_to(), "Delete 3 runs?", 3, yes=True)


class _Typed(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """A person is there."""
        return True


def test_records_of_the_log() -> None:
    """Warnings of the log are words, made harmless, unless the program has a log of its own."""
    err = io.StringIO()
    log = logging.getLogger("shop.of.a.test")
    with mock.patch.object(logging.getLogger(), "handlers", []), told_by(output_to(err)):
        log.warning("run %s was left out", "a\x1b[31m")
        log.info("nobody hears this")
    assert err.getvalue() == "warning: run a\\x1b[31m was left out\n"
