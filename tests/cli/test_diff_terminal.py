"""`aiocheckpoint diff` on terminals of several widths, compared with golden text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli import in_pty

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

NARROW = """\
on entry to 'write' (snapshot 1) -> at the end (snapshot 2)
+ letter  'dear dear dear dear dear dear dear…ar dear dear dear dear dear dear '
~ note    'gift' -> 'gift, wrapped'
= item
"""


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A run that has written a long letter."""
    cp = CheckpointFlow(f"{tmp_path}/letters/", name="letters", keep="all", fsync=False)

    @cp.add_step()
    def write(state: State) -> None:
        state["letter"] = "dear " * 25
        state["note"] += ", wrapped"

    cp.run({"item": "book", "note": "gift"}, run_id="one")
    return tmp_path


def test_widths(letters: Path) -> None:
    """A long value is cut in its middle at 80 columns, and whole at 200."""
    words = ("diff", "letters", "one", "--values")
    narrow = in_pty(*words, columns=80, env={"NO_COLOR": "1"}, cwd=letters)
    assert (narrow.code, narrow.out) == (0, NARROW)
    wide = in_pty(*words, columns=200, env={"NO_COLOR": "1"}, cwd=letters)
    assert "dear " * 25 in wide.out


def test_colours(letters: Path) -> None:
    """The marks have colours on a terminal, and nothing else depends on them."""
    pytest.importorskip("rich", reason="colours are of the extra cli")
    shown = in_pty("diff", "letters", "one", cwd=letters).out
    first, *changes, _ = shown.splitlines()
    assert first.startswith("on entry")
    assert all(line.startswith("\x1b[") for line in changes)
