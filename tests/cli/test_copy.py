"""The suggested command in the clipboard of the terminal, by OSC 52."""

from __future__ import annotations

import base64
import json
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

OPTIONS = ("--app-dir=elsewhere", "--flow=other", "--yes", "-")
"""Ids that are options, if a command takes them so."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a service whose run is stopped."""
    (tmp_path / "service.py").write_text(SERVICE)
    names: dict[str, object] = {}
    exec(SERVICE.replace("orders.db", f"{tmp_path}/orders.db"), names)  # noqa: S102
    cp = names["cp"]
    for run_id in ("a b", *OPTIONS):
        cp.run({}, until="reserve", run_id=run_id)  # type: ignore[attr-defined]
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


@pytest.mark.parametrize("run_id", OPTIONS)
def test_id_like_an_option(folder: Path, run_id: str) -> None:
    """An id that begins with a dash stays an id in the suggested command, which can be pasted."""
    shown = invoke("show", "service:cp", "--copy", "--", run_id, cwd=folder)
    assert shown.code == 0
    command = f"aiocheckpoint plan service:cp -- {run_id}"
    assert f": {command}\n" in shown.err
    planned = invoke("plan", "--output", "json", *command.split()[2:], cwd=folder)
    assert planned.code == 0
    assert json.loads(planned.out)["plan"]["run_id"] == run_id


def test_filter_like_an_option(folder: Path) -> None:
    """A value that begins with a dash stays the value of its option in the suggested command."""
    (folder / "service.py").write_text(SERVICE.replace('"charge"', '"-c"'))
    invoke("run", "service:cp", "--", "--yes", cwd=folder)
    listed = invoke("runs", "service:cp", "--id=--y*", "--step=-c", cwd=folder)
    assert "resume service:cp --step=-c '--id=--y*' --dry-run" in listed.err
