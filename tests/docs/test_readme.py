"""The README's story does what the README says."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status

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
    """The service takes its orders once, and its next process does what is queued and due."""
    monkeypatch.chdir(tmp_path)
    source, names = blocks("python")[2], dict[str, Any]()
    exec(source, names)  # noqa: S102 - the README's own code
    queued, shown = "order-41 {'total': 9", capsys.readouterr().out.splitlines()
    paused, *events, other = (line for line in shown if not line.startswith(queued))
    assert (paused, other) == ("[('order-42', 'waiting for approval')]", "order-43 finished")
    assert (events[0], events[-1]) == ("RunStarted", "RunFinished")
    other_process = CheckpointFlow("sqlite:///orders.db")
    other_process.add_step()(names["approve"])
    with pytest.raises(TypeError, match="not supported"):
        other_process.run({"total": "much"}, run_id="order-44")
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    again = dict[str, Any]()
    exec(source.replace("asyncio.run(serve())", ""), again)  # noqa: S102
    shown += asyncio.run(_work(again, capsys))
    (failed,) = (line for line in shown if line.startswith("order-44"))
    assert "'>' not supported between" in failed
    assert len([line for line in shown if line.startswith(queued)]) == 1
    with pytest.raises(InvalidValueError, match="update= is for a run that is paused"):
        asyncio.run(again["serve"]())


async def _work(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Let the worker of the README work until nothing is left, and give its lines."""
    async with names["cp"] as cp:
        working = asyncio.create_task(names["work"]())
        await asyncio.to_thread(_wait_for_all, cp)
    await working
    return capsys.readouterr().out.splitlines()


def _wait_for_all(cp: CheckpointFlow) -> None:
    """Wait until nothing is left to do, and order-44 has failed again."""
    under_way: tuple[Status, ...] = ("queued", "running", "stopped")
    while cp.runs(under_way) or {run.starts for run in cp.runs("failed")} != {2}:
        time.sleep(0.05)


def test_commands_print_what_the_readme_shows() -> None:
    """The three commands are examples of docs/cli.md, whose outputs a test of that page checks."""
    (shown,) = blocks("console")
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    examples = {text for kind, text in BLOCK.findall(page) if kind == "console"}
    commands = [f"$ {text}" for text in shown.split("$ ")[1:]]
    assert len(commands) == 3
    assert set(commands) <= examples
    assert f"has {len(examples)} commands" in README.read_text("utf-8")


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
