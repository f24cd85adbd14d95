"""The README's story does what the README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from aiocheckpoint import InvalidValueError

ROOT = next(path for path in Path(__file__).parents if (path / "pyproject.toml").exists())
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS: list[tuple[str, str]] = BLOCK.findall(README.read_text("utf-8"))
TRY_IT = (
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/python examples/quickstart.py"
)
TEST_IT = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return [text for kind, text in BLOCKS if kind == language]


def test_story_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step fails with that note, the plan reads so, and the mended run resumes there."""
    monkeypatch.chdir(tmp_path)
    begin, mend, _ = blocks("python")
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
    resumed, anew = ["invert, mended"], ["fetch", "invert, mended"]
    assert runs == [*resumed, *anew]


def test_service_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service takes its orders once, and after a restart resumes the unfinished ones."""
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


def test_commands_are_whole_lines() -> None:
    """Each of the two commands is one line of a fresh machine, ended by the comment that names it.

    `.ci/run` takes the lines by these comments and runs them.
    """
    (shell,) = blocks("shell")
    lines = [line.rpartition("  # ") for line in shell.splitlines()]
    assert [(line.rstrip(), name) for line, _, name in lines] == [
        (TRY_IT, "try it"),
        (TEST_IT, "test it"),
    ]
    checks = (ROOT / ".ci" / "run").read_text("utf-8")
    assert [name for _, _, name in lines if f'run_readme "{name}"' not in checks] == []


def test_commands_name_files_that_exist() -> None:
    """Every script that the README or the index of the pages names in a command is there."""
    text = README.read_text("utf-8") + (ROOT / "docs" / "index.md").read_text("utf-8")
    scripts = re.findall(r"(?:python|bash) ([\w./]+)", text)
    assert scripts
    assert [name for name in scripts if not (ROOT / name).exists()] == []


def test_prose_is_short() -> None:
    """The README has seven bullets before the story, and less than 500 words beside its code."""
    text = BLOCK.sub("", README.read_text("utf-8"))
    before_the_story, _, _ = text.partition("\n## ")
    assert before_the_story.count("\n- ") == 7
    assert len(text.split()) < 500
