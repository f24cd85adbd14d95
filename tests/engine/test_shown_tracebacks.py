"""What is printed of a broken step: by python for a script, by pytest, and by a real kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from locations import program
from nbclient import NotebookClient
from seen_tracebacks import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("shown_traceback_script.py")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
DEFINE = """
import asyncio
from aiocheckpoint import CheckpointFlow, Retry
cp = CheckpointFlow("c.pkl")

@cp.add_step()
def s(state):
    state["x"] = 1 / state["rows"]
"""
ACELL = """
@cp.add_step(replace=True, retry=Retry(attempts=2, wait_initial=0, wait_jitter=0))
async def s(state):
    await asyncio.sleep(0)
    state["x"] = 1 / state["rows"]
"""
CELLS = {
    "run": "cp.run({'rows': 0})",
    "arun": "await cp.arun({'rows': 0})",
    "run async": ACELL + "cp.run({'rows': 0})",
    "arun async": "await cp.arun({'rows': 0})",
    "own error": "cp.run(3)",
}
NAMED = """
ready, orders = [], CheckpointFlow("orders/")
orders.add_step(name="s")(lambda state: state.update(x=1 / len(ready)))
"""
PASTE = """
import sys
ready.append(1)
shell, line = get_ipython(), sys.last_value.__notes__[-1].splitlines()[-1]
(await shell.run_cell_async(line, transformed_cell=shell.transform_cell(line))).result
"""
"""The last line of the note, executed as a cell."""
PASTED = {
    "orders.resume('order-42')": "orders.run({}, run_id='order-42')",
    "await orders.aresume('x')": "ready.clear()\nawait orders.arun({}, run_id='x')",
}
"""The last lines, by the cells whose notes they end."""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_script(kind: str, tmp_path: Path) -> None:
    """A script's traceback has one frame of the library, between the call and the broken line."""
    command = [sys.executable, str(SCRIPT), str(tmp_path / "c.pkl"), kind]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert ended.stderr.count(PACKAGE) == 1
    assert len(lines) <= 20
    assert lines[-3] == "ZeroDivisionError: division by zero"
    assert lines[-1] == "cp.run()"


@pytest.mark.parametrize(
    ("test", "line"),
    [
        ("test_step", '>       state["x"] = 1 / state["rows"]'),
        ("test_own_error", '>       make_flow(os.environ["PLACE"], "sync").run(3)'),
    ],
    ids=["step", "own error"],
)
def test_under_pytest(test: str, line: str, tmp_path: Path) -> None:
    """Under pytest, no frame of the library is shown. The user's own line is marked."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tmp_path), f"{SCRIPT}::{test}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PLACE": str(tmp_path / "c.pkl")},
    )
    assert ended.returncode == 1, ended.stdout
    assert PACKAGE not in ended.stdout
    assert line in ended.stdout
    assert len(ended.stdout.splitlines()) <= 60


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Execute the cells in one kernel, and give what each shows of its error."""
    sources = dict(CELLS)
    for line, call in PASTED.items():
        sources |= {line: NAMED * (len(sources) == len(CELLS)) + call, f"pasted {line}": PASTE}
    cells = [nbformat.v4.new_code_cell(source) for source in (DEFINE, *sources.values())]  # type: ignore[no-untyped-call]
    notebook: Any = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    folder, home = tmp_path_factory.mktemp("kernel"), tmp_path_factory.mktemp("ipython")
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(home)})
    outputs = [cell["outputs"][-1] for cell in notebook["cells"][1:]]
    return {
        name: ANSI.sub("", "\n".join(output.get("traceback") or [output["data"]["text/plain"]]))
        for name, output in zip(sources, outputs, strict=True)
    }


@pytest.mark.parametrize("name", [name for name in CELLS if name != "own error"])
def test_in_a_kernel(name: str, shown: dict[str, str]) -> None:
    """A cell shows the call and the broken line. The library's one frame is hidden."""
    text = shown[name]
    assert PACKAGE not in text
    assert "skipping hidden 1 frame" in text
    assert '1 / state["rows"]' in text
    assert text.splitlines()[-1] == f"{'await cp.arun' if 'arun' in name else 'cp.run'}()"
    assert len(text.splitlines()) <= 30


def test_own_error_in_a_kernel(shown: dict[str, str]) -> None:
    """An error of the library shows the call, and the one frame that raised it."""
    text = shown["own error"]
    assert "a dict, not a int" in text.splitlines()[-1]
    assert text.count(" in CheckpointFlow.") == 1
    assert len(text.splitlines()) <= 30


@pytest.mark.parametrize("line", PASTED)
def test_pasted_in_a_kernel(line: str, shown: dict[str, str]) -> None:
    """The last line names the variable of the flow. As a cell, it resumes the run."""
    assert shown[line].splitlines()[-1] == line
    assert shown[f"pasted {line}"] == "{'x': 1.0}"
