"""Classes of a notebook in a real kernel: a cell executed again, a new kernel, `%autoreload`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from pathlib import Path

DEFINITIONS = """
from dataclasses import dataclass
from aiocheckpoint import CheckpointFlow
SCALE = 2
cp = CheckpointFlow("notebook.pkl", fsync=False)

@cp.add_step(replace=True)
def make(state):
    state["config"], state["function"] = Config(0.5), lambda x: x * SCALE

@cp.add_step(replace=True)
def use(state):
    state["result"] = state["config"].scaled()
"""
BROKEN = """
@dataclass
class Config:
    rate: float
    def scaled(self):
        return 1 / 0
"""
MENDED = BROKEN.replace("1 / 0", "self.rate * SCALE")
LOOK = 'type(state["config"]) is Config, state["config"] == Config(0.5), state["function"](3)'
HELPER = "class Helper:\n    def word(self):\n        return {!r}\n"
FIRST_KERNEL = {
    "autoreload": "%load_ext autoreload\n%autoreload 2\nimport helper",
    "definitions": DEFINITIONS,
    "broken": BROKEN,
    "first run": "cp.run({})",
    "mended": MENDED,
    "resumed": "state = cp.run()\nstate['result'], " + LOOK,
    "an old instance": "old = Config(0.5)",
    "cell again": MENDED,
    "stored": "cp.handler.write({'config': old, 'function': 1})\nstate = cp.read()",
    "by its name": 'type(old) is Config, type(state["config"]) is Config',
    "helper stored": "cp.handler.write({'h': helper.Helper(), 'c': helper.Helper})",
    "helper edited": "import pathlib, time\npathlib.Path('helper.py').write_text("
    + repr(HELPER.format("edited"))
    + ")\nos = __import__('os')\n"
    "os.utime('helper.py', (time.time() + 9,) * 2)",
    "helper reloaded": "state = cp.read()\nstate['h'].word(), type(state['h']) is helper.Helper",
    "kept instance": "kept = state['h']",
    "helper edited again": "pathlib.Path('helper.py').write_text("
    + repr(HELPER.format("again"))
    + ")\nos.utime('helper.py', (time.time() + 99,) * 2)",
    "helper stored again": "cp.handler.write({'h': kept})\nstate = cp.read()\n"
    "state['h'].word(), type(state['h']) is helper.Helper",
    "for the next kernel": "cp.reset()\ncp.run({}, until='make')",
}
SECOND_KERNEL = {
    "definitions": DEFINITIONS,
    "mended": MENDED,
    "resumed": "state = cp.run()\nstate['result'], " + LOOK,
}


def execute(folder: Path, cells: dict[str, str]) -> dict[str, Any]:
    """Execute cells in a kernel of their own, and give the texts of their results."""
    notebook: Any = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    for code in cells.values():
        cell = nbformat.v4.new_code_cell(code)  # type: ignore[no-untyped-call]
        cell.metadata["tags"] = ["raises-exception"]
        notebook.cells.append(cell)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})
    return {name: _result(cell) for name, cell in zip(cells, notebook.cells, strict=True)}


def _result(cell: Any) -> str | None:  # noqa: ANN401
    for out in cell.outputs:
        if out.output_type == "error":
            return str(out.ename)
        if out.output_type == "execute_result":
            return str(out.data["text/plain"])
    return None


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the results of both kernels."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "helper.py").write_text(HELPER.format("stored"), encoding="utf-8")
    return execute(folder, FIRST_KERNEL), execute(folder, SECOND_KERNEL)


Results = tuple[dict[str, Any], dict[str, Any]]


def test_cell_executed_again(results: Results) -> None:
    """The mended method runs on the stored instance, which is one of the new class."""
    first, _ = results
    assert first["first run"] == "ZeroDivisionError"
    assert first["resumed"] == "(1.0, True, True, 6)"


def test_instance_of_the_cell_before(results: Results) -> None:
    """An instance made before the cell was executed again is stored by the class's name."""
    assert results[0]["by its name"] == "(False, True)"


def test_kernel_restarted(results: Results) -> None:
    """A new kernel that executes the same cells resumes with its own classes and globals."""
    assert results[1]["resumed"] == "(1.0, True, True, 6)"


def test_autoreload(results: Results) -> None:
    """A class of a module that was edited and reloaded is the edited one."""
    assert results[0]["helper reloaded"] == "('edited', True)"
    assert results[0]["helper stored again"] == "('again', True)"
