"""Habits of notebooks and prompts: a real kernel, and a real `python -i` on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from terminals import PATIENCE, Terminal

if TYPE_CHECKING:
    from pathlib import Path

FLOW = "from aiocheckpoint import CheckpointFlow\ncp = CheckpointFlow('a.pkl')"
FETCH = "@cp.add_step()\ndef fetch(state):\n    state['rows'] = 3"
BROKEN = "@cp.add_step()\ndef train(state):\n    1 / 0"
MENDED = "@cp.add_step()\ndef train(state):\n    state['model'] = 5"
PARTS = "@cp.add_step( save=print, load=dict)\ndef part(state, data): ..."
TWICE = "for _ in range(2):\n    cp.add_step(name='twice')(lambda state: None)"

CELLS = {
    "flow": FLOW,
    "no steps": "cp.run({})",
    "no steps planned": "print(cp.plan())",
    "fetch": FETCH,
    "fetch again": FETCH,
    "broken": BROKEN,
    "first run": "cp.run({'lr': 1})",
    "mended": MENDED,
    "patched": "cp.patch({'lr': 2}).position",
    "resumed": "cp.run()",
    "anew": "cp.run({'lr': 3})",
    "twice in a cell": "@cp.add_step()\ndef one(state): ...\n\n@cp.add_step()\ndef one(state): ...",
    "in a loop": TWICE,
    "renamed": "@cp.add_step(replace=True)\ndef fit(state):\n    state['fit'] = True",
    "renamed again": "@cp.add_step(replace=True)\ndef fit(state):\n    state['fit'] = True",
    "removed": "cp.remove_step('train')\ncp.remove_step('one')\ncp.remove_step('twice')",
    "before": "@cp.add_step(before='fit')\ndef clean(state): ...",
    "before again": "@cp.add_step(before='fit')\ndef clean(state): ...",
    "forgotten": "@cp.add_step\ndef save(state): ...",
    "forgotten run": "cp.run({})",
    "not forgotten": "@cp.add_step()\ndef save(state): ...",
    "steps": "print(cp.plan().steps)",
    "stopped": "cp.run({}, until='fetch', run_id=None)",
    "as a task": "import asyncio\nawait asyncio.create_task(cp.arun())",
    "stopped again": "cp.run({}, until='fetch')",
    "logged": "import logging\nlogging.getLogger().addHandler(logging.NullHandler())\ncp.run()",
    "with parts": PARTS,
    "without parts": PARTS.replace(" save=print, load=dict", ""),
    "flow again": FLOW,
    "run again": "cp.run({})",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Execute the cells in one kernel, one after the other, and give their outputs."""
    folder, home = tmp_path_factory.mktemp("prompt"), tmp_path_factory.mktemp("ipython")
    notebook = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in CELLS.values()]  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=120,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(home)})
    return dict(zip(CELLS, (cell["outputs"] for cell in notebook.cells), strict=True))


def text(outputs: Any, stream: str = "stderr") -> str:  # noqa: ANN401
    """Join what a cell printed to a stream."""
    return "".join(one["text"] for one in outputs if one.get("name") == stream)


def result(outputs: Any) -> str | None:  # noqa: ANN401
    """Give what a cell shows, or None."""
    shown = [one["data"]["text/plain"] for one in outputs if "data" in one]
    return shown[0] if shown else None


def error(outputs: Any) -> str:  # noqa: ANN401
    """Give the message of a cell's error."""
    return "".join(one["evalue"] for one in outputs if one["output_type"] == "error")


@pytest.mark.parametrize("name", ["fetch", "broken", "anew", "renamed again", "removed", "before"])
def test_silent(name: str, cells: dict[str, Any]) -> None:
    """A cell that does what it says prints nothing."""
    assert (text(cells[name]), error(cells[name])) == ("", "")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("fetch again", "'fetch' takes the place of the old 'fetch': step 1 of 1."),
        ("mended", "'train' takes the place of the old 'train': step 2 of 2."),
        (
            "without parts",
            "'part' takes the place of the old 'part', without its loader and saver: step 5 of 5.",
        ),
        ("before again", "'clean' takes the place of the old 'clean': step 2 of 3."),
    ],
)
def test_cell_executed_again(name: str, line: str, cells: dict[str, Any]) -> None:
    """The new function takes the old one's place, and one line says which and where."""
    assert text(cells[name]) == f"aiocheckpoint: {line}\n"
    assert error(cells[name]) == ""


def test_renamed(cells: dict[str, Any]) -> None:
    """`replace=True` that replaces nothing says where the step is, and how to drop the old one."""
    (line,) = text(cells["renamed"]).splitlines()
    assert "'fit' replaces no step of this name, and is a new one: step 5 of 5." in line
    assert "remove_step(" in line


@pytest.mark.parametrize(("name", "step"), [("twice in a cell", "one"), ("in a loop", "twice")])
def test_twice_in_one_execution(name: str, step: str, cells: dict[str, Any]) -> None:
    """Two steps of one name in one execution of a cell are a mistake, as in a script."""
    assert f"there is a step '{step}' already" in error(cells[name])
    assert text(cells[name]) == ""


def test_resume(cells: dict[str, Any]) -> None:
    """A resume says in one line where it starts and why."""
    assert error(cells["first run"]) == "division by zero"
    assert (result(cells["patched"]), text(cells["patched"])) == ("1", "")
    assert text(cells["resumed"]) == (
        "aiocheckpoint: a: run 1. Starts at step 2 of 2, 'train', with the stored state: the last "
        "run was stopped there.\n"
    )
    assert result(cells["resumed"]) == "{'lr': 2, 'rows': 3, 'model': 5}"


def test_resume_of_a_task(cells: dict[str, Any]) -> None:
    """A resume by `arun` says the same, unless the program has configured logging."""
    assert "Starts at step 2 of 4, 'clean'" in text(cells["as a task"])
    assert text(cells["stopped again"]) == ""
    assert (text(cells["logged"]), error(cells["logged"])) == ("", "")


def test_steps(cells: dict[str, Any]) -> None:
    """The steps are in the order that the cells gave them, and a forgotten one is mended."""
    assert "parentheses" in error(cells["forgotten run"])
    assert text(cells["steps"], "stdout") == "('fetch', 'clean', 'fit', 'save')\n"


@pytest.mark.parametrize("name", ["no steps", "run again"])
def test_first_cell_executed_again(name: str, cells: dict[str, Any]) -> None:
    """A flow that was made anew asks for the cells with its steps."""
    assert "are the cells with the steps still to be executed" in error(cells[name])
    assert "is refused with FlowDefinitionError" in text(cells["no steps planned"], "stdout")


SCRIPT = f"""
{FLOW}
{FETCH}

{BROKEN}

try:
    cp.add_step()(train)
except Exception as error:
    print("refused:", type(error).__name__)
"""


def test_python_prompt(tmp_path: Path) -> None:
    """At the prompt of `python -i`, statements are what cells are in a notebook."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    terminal = Terminal([sys.executable, "-i", "script.py"], tmp_path)
    try:
        terminal.wait_for("refused: FlowDefinitionError")
        terminal.wait_for(">>> ")
        terminal.type("cp.run({'lr': 1})")
        assert "ZeroDivisionError" in terminal.wait_for(">>> ")
        terminal.type("mended = cp.add_step(name='train')(lambda state: None)")
        told = terminal.wait_for(">>> ")
        assert "aiocheckpoint: 'train' takes the place of the old 'train': step 2 of 2." in told
        terminal.type("mended = cp.add_step(name='train')(lambda state: None)")
        assert "takes the place" in terminal.wait_for(">>> ")
        terminal.type("for _ in 1, 2: _ = cp.add_step(name='twice')(lambda state: None)\n")
        assert "there is a step 'twice' already" in terminal.wait_for(">>> ")
        terminal.type("cp.run()")
        told = terminal.wait_for(">>> ")
        assert "Starts at step 2 of 3, 'train'" in told
        assert "{'lr': 1, 'rows': 3}" in told
        terminal.type("exit()")
        assert terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.close()
