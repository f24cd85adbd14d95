"""Steps that were edited after they had run are named, in scripts and in a kernel."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import CheckpointFlow

HEAD = """\
import sys
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow("checkpoint.pkl", fsync=False)

def load(state):
    return {"rows": [1, 2]}

"""
PREPARE = """\
@cp.add_step(load=load)
def prepare(state, data):
    state["sum"] = sum(data["rows"])

"""
REST = """\
@cp.add_step(retry=1)
def fit(state):
    # as far as we know
    if "broken" in sys.argv:
        raise OSError("not yet")
    state["done"] = True

if "plan" in sys.argv:
    print(cp.plan().edited)
    print(cp.plan())
else:
    print(cp.run())
"""


def script(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Write a script, and run it in a process of its own."""
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, str(path), *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ}
    )


EDITED = PREPARE.replace("sum(data", "max(data")
NOT_EDITED = (
    "# new\n"
    + HEAD
    + "def helper():\n    return 1\n"
    + PREPARE.replace("load=load", "load=load, retry=3").replace(
        "    state", "    # new\n    state"
    )
    + REST.replace('"done"', '"ready"')
)


def test_other_edits_are_not_named(tmp_path: Path) -> None:
    """A comment, an option, another function, a step that has not run: nothing is said."""
    assert script(tmp_path, HEAD + PREPARE + REST, "broken").returncode == 1
    planned = script(tmp_path, NOT_EDITED, "plan")
    assert planned.stdout.startswith("()\n"), planned.stderr
    assert "Edited" not in planned.stdout
    resumed = script(tmp_path, NOT_EDITED)
    assert (resumed.returncode, resumed.stderr) == (0, "")


@pytest.mark.parametrize("old", ["def prepare", "load=load"], ids=["step", "loader"])
def test_an_edited_step_is_named_once(old: str, tmp_path: Path) -> None:
    """The plan and one line of the log name it with the way to run it again. It is not run."""
    assert script(tmp_path, HEAD + PREPARE + REST, "broken").returncode == 1
    text = HEAD + (EDITED if old == "def prepare" else PREPARE) + REST
    if old == "load=load":
        text = text.replace("[1, 2]", "[1, 2, 3]")
    planned = script(tmp_path, text, "plan").stdout
    assert planned.startswith("('prepare',)\n")
    assert "checkpoint='prepare'" in planned
    resumed = script(tmp_path, text)
    assert resumed.stdout == "{'sum': 3, 'done': True}\n"
    assert resumed.stderr.count("Edited") == 1
    assert "'prepare'" in resumed.stderr
    assert "checkpoint='prepare'" in resumed.stderr
    assert script(tmp_path, text).stderr == "", "a new run runs the step"


@pytest.mark.parametrize("when", ["before the run", "in a step"])
def test_script_that_is_edited_while_it_runs(when: str, tmp_path: Path) -> None:
    """The code that ran is recorded, not the file as it is meanwhile."""
    edit = 'import pathlib; pathlib.Path(__file__).write_text(pathlib.Path("new.py").read_text())\n'
    before, inside = (edit, "") if when == "before the run" else ("", f"    {edit}")
    text = HEAD + PREPARE + before + REST.replace("    # as far", inside + "    # as far")
    (tmp_path / "new.py").write_text(HEAD + EDITED + REST, encoding="utf-8")
    broken = script(tmp_path, text, "broken")
    assert "OSError: not yet" in broken.stderr
    new = (tmp_path / "script.py").read_text(encoding="utf-8")
    assert "max(data" in new
    assert script(tmp_path, new, "plan").stdout.startswith("('prepare',)\n")
    assert script(tmp_path, text, "plan").stdout.startswith("()\n")


CELLS = [
    HEAD,
    PREPARE,
    REST[: REST.index("\nif ")].replace('"broken" in sys.argv', "broken"),
    "broken = True\ntry:\n    cp.run()\nexcept OSError:\n    pass",
    PREPARE.replace("load=load", "load=load, replace=True"),
    "cp.plan().edited",
    EDITED.replace("load=load", "load=load, replace=True"),
    "cp.plan().edited",
    "broken = False\ncp.run()",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Execute the cells in a kernel, and give the outputs of each."""
    cells = list(map(nbformat.v4.new_code_cell, CELLS))
    notebook: Any = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    folder, home = tmp_path_factory.mktemp("notebook"), tmp_path_factory.mktemp("ipython")
    client = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "IPYTHONDIR": str(home)})
    return [cell.outputs for cell in notebook.cells]


def test_in_a_kernel(outputs: list[Any]) -> None:
    """A cell that is executed again with other code is an edit, the same cell is none."""
    assert outputs[5][0]["data"]["text/plain"] == "()"
    assert outputs[7][0]["data"]["text/plain"] == "('prepare',)"
    texts = [one.get("text", "") for one in outputs[8]]
    assert sum(text.count("Edited") for text in texts) == 1


def flow(runs: Runs, kind: str, steps: int = 2) -> CheckpointFlow:
    """A flow with a first step of one kind or another, whose last one breaks in the first run."""
    cp = runs.empty_flow()

    def one(state: State) -> None:
        state["kind"] = 1

    def other(state: State) -> None:
        state["kind"] = 2

    def last(state: State) -> None:
        if runs.faults:
            raise runs.faults["last"]

    async def slow(state: State) -> None:
        await asyncio.sleep(0)

    cp.add_step(name="first")(one if kind == "one" else other)
    for number in range(steps - 2):
        cp.add_step(name=f"step {number}")(slow)
    cp.add_step(name="last")(last)
    return cp


@pytest.mark.parametrize("steps", [2, 21, 101, 130])
def test_in_every_store(
    steps: int, runs: Runs, any_runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The digests are carried. Of a flow of more than 100 steps, the last 20 are looked at."""
    runs.faults["last"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        any_runner(flow(runs, "one", steps), {}, run_id="x")
    with pytest.raises(OSError, match="not yet"):
        any_runner(flow(runs, "one", steps), run_id="x")
    header = runs.empty_flow().handler.header("x")
    assert len(header.step_digests) == (20 if steps > 100 else steps)
    assert len({len(digest) for digest in header.step_digests.values()}) == 1
    assert list(header.step_digests)[-1] == ("last" if steps <= 100 else f"step {steps - 3}")
    known = ("first",) if steps <= 100 else ()
    cp = flow(runs, "other", steps)
    assert any_runner.plan(cp, run_id="x").edited == known
    runs.faults.clear()
    caplog.clear()
    assert any_runner(cp, run_id="x")["kind"] == 1
    warned = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warned) == len(known)
    assert any_runner.plan(cp, run_id="x").edited == (), "a finished run begins anew"


def test_step_that_runs_again_is_as_it_was_edited(runs: Runs, runner: Runner) -> None:
    """`checkpoint=` runs the step, and from then on it is recorded with its new code."""
    runs.faults["last"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(flow(runs, "one"), {}, run_id="x")
    edited = flow(runs, "other")
    plan = runner.plan(edited, run_id="x")
    assert plan.edited == ("first",)
    with pytest.raises(OSError, match="not yet"):
        runner(edited, run_id="x", checkpoint="first")
    assert runner.plan(edited, run_id="x").edited == ()
    assert edited.read("x")["kind"] == 2
    assert runner.plan(flow(runs, "one"), run_id="x").edited == ("first",)
