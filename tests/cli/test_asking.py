"""Questions before runs are deleted or changed, and the answers that count."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
from cli import in_pty, invoke
from order_store import store_orders

from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path


class Keyboard(io.StringIO):
    """Lines that somebody types."""

    def isatty(self) -> bool:
        """Look like a terminal."""
        return True


def asked(
    count: int, typed: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, yes: bool = False
) -> tuple[bool, str]:
    """Ask about so many runs, and give the decision and what was shown."""
    out, err = io.StringIO(), io.StringIO()
    output = Output(out, err, Terminal(None, None, colour=False, unicode=True))
    monkeypatch.setattr(sys, "stdin", typed)
    decided = confirmed(output, "Delete them?", count, yes=yes)
    assert out.getvalue() == ""
    return decided, err.getvalue()


@pytest.mark.parametrize(
    ("typed", "count", "decided"),
    [
        ("yes", 1, True),
        ("Y", 100, True),
        ("no", 1, False),
        ("", 1, False),
        ("1", 1, False),
        ("yes", 101, False),
        ("102", 101, False),
        ("101", 101, True),
        ("12,000", 12_000, True),
    ],
)
def test_answers(typed: str, count: int, decided: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes is enough for up to 100 runs. More ask for their number."""
    wanted = str(count) if count > 100 else "yes"
    found = asked(count, Keyboard(f"{typed}\n"), monkeypatch)
    end = "" if decided else "Nothing was changed.\n"
    assert found == (decided, f"Delete them? Type {wanted} to go on:\n{end}")


def test_end_of_input_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at the question changes nothing."""
    assert not asked(1, Keyboard(), monkeypatch)[0]


def test_nobody_is_asked_behind_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--yes` nothing is asked, on a terminal or not."""
    assert asked(999, Keyboard(), monkeypatch, yes=True) == (True, "")
    assert asked(999, io.StringIO(), monkeypatch, yes=True) == (True, "")


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, a missing `--yes` is a wrong use."""
    with pytest.raises(UsageProblem, match="add --yes"):
        asked(1, io.StringIO("yes\n"), monkeypatch)


@pytest.mark.parametrize("command", ["delete", "terminate"])
def test_nobody_is_asked_for_what_is_refused(command: str, tmp_path: Path) -> None:
    """A missing `--write` is said before anybody is asked."""
    store_orders(tmp_path)
    done = in_pty(command, "orders.db", "order-42", typed="yes\n", cwd=tmp_path)
    assert (done.code, "Type yes" in done.out, "Add --write" in done.out) == (2, False, True)


def test_missing_store_comes_before_write(tmp_path: Path) -> None:
    """`--write` is not asked for where there is no store."""
    done = invoke("prune", "nothing.db", "--older-than", "1d", cwd=tmp_path)
    assert (done.code, "no store nothing.db" in done.err) == (3, True)
