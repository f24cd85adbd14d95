"""The suggested command in the clipboard of the terminal, by OSC 52."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cli import in_pty, invoke

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("sqlite:///orders.db")
cp.add_step(name="reserve")(lambda state: None)
cp.add_step(name="charge")(lambda state: 1 / 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a service whose run is stopped."""
    (tmp_path / "service.py").write_text(SERVICE)
    names: dict[str, object] = {}
    exec(SERVICE.replace("orders.db", f"{tmp_path}/orders.db"), names)  # noqa: S102
    cp = names["cp"]
    cp.run({}, until="reserve", run_id="a b")  # type: ignore[attr-defined]
    cp.handler.close()  # type: ignore[attr-defined]
    return tmp_path


def test_on_a_terminal(folder: Path) -> None:
    """The terminal is asked to take the command as it is shown, and nothing else is escaped."""
    shown = in_pty("show", "service:cp", "a b", "--copy", "--color", "never", cwd=folder)
    command = "aiocheckpoint plan service:cp 'a b'"
    copied = f"\x1b]52;c;{base64.b64encode(command.encode()).decode()}\x07"
    assert shown.code == 0
    assert command in shown.out
    assert shown.out.count(copied) == 1
    assert "\x1b" not in shown.out.replace(copied, "")
    assert "It is in the clipboard, if the terminal allows it." in shown.out


def test_without_a_terminal(folder: Path) -> None:
    """In a pipe there is no clipboard: it says so, and sends nothing."""
    for words in (("show", "service:cp", "a b"), ("runs", "service:cp")):
        piped = invoke(*words, "--copy", cwd=folder)
        assert piped.code == 0
        assert "It is not copied: stdout and stderr are no terminals." in piped.err
        assert "\x1b" not in piped.out + piped.err
        assert "copied" not in invoke(*words, cwd=folder).err
