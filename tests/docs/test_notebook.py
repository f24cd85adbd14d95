"""The example notebook, executed in a real kernel, where a loop runs in the main thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from locations import EXAMPLES
from nbclient import NotebookClient

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOK = EXAMPLES / "checkpoint_flow.ipynb"
Cells = dict[str, Any]

COLLECT = "step    collect        coroutine\n"
CHOOSE = "step    choose         coroutine\n"
OUTPUTS = {
    "first-run": (
        COLLECT + "saver   save_readings  main thread\n" + "step    average        main thread\n"
    ),
    "resume": (
        "loader  load_readings  main thread\n"
        "step    average        main thread\n"
        "saver   save_means     main thread\n" + CHOOSE
    ),
    "again": (
        COLLECT
        + "saver   save_readings  worker thread\n"
        + "step    average        worker thread\n"
        + "saver   save_means     worker thread\n"
        + CHOOSE
    ),
    "always": (
        COLLECT
        + "saver   save_readings  worker thread\n"
        + "loader  load_readings  worker thread\n"
        + "step    average        worker thread\n"
        + "saver   save_means     worker thread\n"
        + "loader  load_means     worker thread\n"
        + CHOOSE
    ),
    "second": (
        "loader  load_readings  main thread\n"
        "step    average        main thread\n"
        "saver   save_means     main thread\n" + CHOOSE
    ),
    "clean-up": "{}\n",
}
RESULTS = {
    "stored": "{'town': 'Lund', 'days': 3, 'checkpoint_index': 1}",
    "resume": "{'town': 'Lund', 'days': 3, 'attempts': 1, 'warmest': 'Wed'}",
    "again": "{'town': 'Oslo', 'days': 3, 'attempts': 1, 'warmest': 'Wed'}",
    "always": "{'town': 'Rome', 'days': 3, 'attempts': 1, 'warmest': 'Wed'}",
    "second": "{'town': 'Rome', 'days': 3, 'attempts': 2, 'warmest': 'Wed'}",
}


@pytest.fixture(scope="module")
def stored() -> Any:  # noqa: ANN401 (a notebook is a tree of plain JSON)
    """Give the notebook as it is in the repository."""
    return read_notebook()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the kernel is started in."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def cells(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Execute the notebook in a kernel and give its cells by their ids."""
    notebook = read_notebook()
    home = tmp_path_factory.mktemp("ipython")
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(home)})
    return {cell["id"]: cell for cell in notebook["cells"]}


def read_notebook() -> Any:  # noqa: ANN401
    """Read the notebook from its file."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def printed(cell: Any, stream: str = "stdout") -> str:  # noqa: ANN401
    """Join what a cell printed to a stream."""
    return "".join(out["text"] for out in cell["outputs"] if out.get("name") == stream)


def error_of(cell: Any) -> Any:  # noqa: ANN401
    """Give the one error that a cell ended with, or None."""
    errors = [out for out in cell["outputs"] if out["output_type"] == "error"]
    assert len(errors) <= 1
    return errors[0] if errors else None


@pytest.mark.parametrize("name", OUTPUTS)
def test_prints(cells: Cells, name: str) -> None:
    """A cell runs these functions in this order: sync ones in the main thread under `run`."""
    assert printed(cells[name]) == OUTPUTS[name]


@pytest.mark.parametrize("name", RESULTS)
def test_result(cells: Cells, name: str) -> None:
    """A cell shows this state."""
    results = [out for out in cells[name]["outputs"] if out["output_type"] == "execute_result"]
    assert [out["data"]["text/plain"] for out in results] == [RESULTS[name]]


def test_note(cells: Cells) -> None:
    """The failing cell ends with the step's own error and the note that says how to resume."""
    error = error_of(cells["first-run"])
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    *_, words, last_line = error["traceback"][-1].splitlines()
    assert "step 2 of 3, 'average', broke in its part 'step'" in words
    assert "checkpoint.pkl holds the state as it was before 'average'" in words
    assert "Mend it and run again" in words
    assert last_line == "cp.run()"


def test_plan(cells: Cells) -> None:
    """Before the fix, the plan says where the next run starts and which loader it calls."""
    words = printed(cells["plan"])
    assert words.startswith("Starts at step 2 of 3, 'average', with the stored state: ")
    assert "loader of 'average'." in words


def test_lines_on_stderr(cells: Cells) -> None:
    """The cell that mends the step, and the one that resumes, say so in one line each."""
    told = {name: printed(cell, "stderr") for name, cell in cells.items() if "outputs" in cell}
    lines = {name: text for name, text in told.items() if text}
    place = "'average' takes the place of the old 'average': step 2 of 3."
    assert lines.pop("mend") == f"aiocheckpoint: {place}\n"
    (resumed,) = lines.pop("resume").splitlines()
    assert "Starts at step 2 of 3, 'average', with the stored state" in resumed
    assert lines == {}


def test_only_one_cell_breaks(cells: Cells) -> None:
    """Every code cell was executed, and only the cell tagged for it fails."""
    code = [cell for cell in cells.values() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    broken = [cell["id"] for cell in code if error_of(cell) is not None]
    tagged = [cell["id"] for cell in code if "raises-exception" in cell["metadata"].get("tags", ())]
    assert broken == tagged == ["first-run"]


def test_leaves_nothing(cells: Cells, folder: Path) -> None:
    """The notebook tidies up: its folder is as empty as it was."""
    assert cells
    assert list(folder.iterdir()) == []


def test_stored_clean(stored: Any) -> None:  # noqa: ANN401
    """The stored notebook is valid and carries no outputs, counts, or traces of a machine."""
    nbformat.validate(stored)
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["metadata"]["language_info"] == {"name": "python"}
    for cell in stored["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
