"""What a command gets: runs by name, by lines or by filters, and a flow to change."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from order_store import store_orders

from aiocheckpoint._cli.command_parser import CommandParser
from aiocheckpoint._cli.context import Context
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


def context_of(*words: str) -> Context:
    """The context of a command that changes runs."""
    parser = CommandParser("steer")
    add_target(parser)
    add_runs(parser, most=None)
    for add in (add_secret, add_output, add_write):
        add(parser)
    arguments = parser.parsed(words, {})
    target, runs = target_and_runs(arguments.words, arguments.target, parser.most_runs, {})
    output = Output(io.StringIO(), io.StringIO(), PLAIN)
    return Context("steer", arguments, output, target, runs)


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
