"""Questions before runs are deleted or changed, and the answers that count."""

from __future__ import annotations

import io
import sys

import pytest

from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.terminal import Terminal


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
    assert found == (decided, f"Delete them? Type {wanted} to go on:\n")


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
