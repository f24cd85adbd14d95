"""The README's story does what the README says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT

from aiocheckpoint import CheckpointFlow, InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return [text for kind, text in BLOCKS if kind == language]


def test_story_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step breaks with that note, the plan reads so, and the mended run goes on there."""
    monkeypatch.chdir(tmp_path)
    begin, mend, *_ = blocks("python")
    (broken,) = blocks("text")
    names: dict[str, Any] = {}
    with pytest.raises(ZeroDivisionError) as caught:
        exec(begin, names)  # noqa: S102 - the README's own code
    error = f"ZeroDivisionError: {caught.value}\n" + "\n".join(caught.value.__notes__) + "\n"
    shown = capsys.readouterr().out + error.replace(str(tmp_path), "/home/me")
    assert shown == broken
    plan = str(names["cp"].plan()).splitlines()
    assert f"runs nothing: `{plan[0]}`" in README.read_text("utf-8")
    exec(mend, names)  # noqa: S102
    runs = [line for line in capsys.readouterr().out.splitlines() if "report" not in line]
    resumed, anew, always, chosen = ["invert, mended"], ["fetch"], ["fetch"], ["invert, mended"]
    whole = ["invert, mended"]
    assert runs == [*resumed, *anew, *whole, *always, *whole, *chosen]


def test_service_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service takes its orders once, and started again resumes what is not finished."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(blocks("python")[2], names)  # noqa: S102 - the README's own code
    paused, *events, other = capsys.readouterr().out.splitlines()
    assert (paused, other) == ("[('order-42', 'waiting for approval')]", "order-43 finished")
    assert (events[0], events[-1]) == ("RunStarted", "RunFinished")
    key = names["cp"].read("order-42")["charged"]
    names["cp"].patch("order-42", {"total": 8}, "charge")
    again: dict[str, Any] = {}
    with pytest.raises(InvalidValueError, match="update= is for a run that is paused"):
        exec(blocks("python")[2], again)  # noqa: S102
    resumed = f"order-42 {{'total': 8, 'by': 'Ann', 'charged': '{key}'}}"
    assert capsys.readouterr().out.splitlines() == [resumed, "[]"]


def test_signed_flow_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signed flow runs as it stands, and its file tells that it is finished."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKPOINT_SECRET", "s" * 32)
    names: dict[str, Any] = {"CheckpointFlow": CheckpointFlow}  # as the story imported it
    exec(blocks("python")[3], names)  # noqa: S102 - the README's own code
    assert capsys.readouterr().out == "finished\n"
    assert names["cp"].handler.read() == {"prices": [3, 4], "total": 7, "checkpoint_index": 0}


def test_commands_name_files_that_exist() -> None:
    """Every script that the README tells to run is there."""
    text = README.read_text("utf-8")
    scripts = re.findall(r"(?:python|bash) ([\w./]+)", text)
    assert scripts
    assert [name for name in scripts if not (README.parent / name).exists()] == []
