"""The example notebook, executed in a real kernel, where a loop runs in the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from executed_notebooks import (
    RENEW,
    cards_in,
    cells_of,
    execute,
    printed_in,
    read_notebook,
    strange_paths,
    telling,
    text_of,
)
from locations import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from executed_notebooks import Cells, Notebook

NOTEBOOK = EXAMPLES / "checkpoint_flow.ipynb"

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
def stored() -> Notebook:
    """Give the notebook as it is in the repository."""
    return read_notebook(NOTEBOOK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the kernel is started in."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def cells(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Execute the notebook in a kernel and give its cells by their ids."""
    return cells_of(execute(NOTEBOOK, folder, tmp_path_factory.mktemp("ipython")))


def error_of(cell: Any) -> Any:  # noqa: ANN401
    """Give the one error that a cell ended with, or None."""
    errors = [out for out in cell["outputs"] if out["output_type"] == "error"]
    assert len(errors) <= 1
    return errors[0] if errors else None


@pytest.mark.parametrize("name", OUTPUTS)
def test_prints(cells: Cells, name: str) -> None:
    """A cell runs these functions in this order: sync ones in the main thread under `run`."""
    assert printed_in(cells[name]) == OUTPUTS[name]


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
    (card,) = cards_in(cells["plan"])
    assert card["text/plain"].startswith("Starts at step 2 of 3, 'average', with the stored state")
    assert "loader of 'average'." in card["text/plain"]
    assert "its loader runs" in text_of(card["text/html"])


def test_cards(cells: Cells) -> None:
    """A run has one card in its last state, as HTML and as text, and above the error."""
    ends = {"first-run": "failed at 2 of 3, average"} | dict.fromkeys(RESULTS, "finished")
    del ends["stored"]
    for name, end in ends.items():
        (card,) = cards_in(cells[name])
        assert set(card) == {"text/html", "text/plain"}
        assert end in card["text/plain"]
        assert end in text_of(card["text/html"])
    kinds = [output["output_type"] for output in cells["first-run"]["outputs"]]
    assert kinds[-1] == "error"


def test_shown_values(cells: Cells) -> None:
    """The card of the stored run has the values of its state, and that of the flow its steps."""
    (run,), (flow,) = cards_in(cells["show"]), cards_in(cells["flow"])
    assert "town str 'Lund'" in " ".join(run["text/plain"].split())
    words = text_of(flow["text/html"])
    assert [step for step in ("collect", "average", "choose") if step not in words] == []


def test_lines_on_stderr(cells: Cells) -> None:
    """The cell that mends the step, and the one that resumes, say so in one line each."""
    told = {name: printed_in(cell, "stderr") for name, cell in cells.items() if "outputs" in cell}
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


def test_stored_clean(stored: Notebook) -> None:
    """The stored notebook is valid, and tells nothing of the machine that executed it."""
    nbformat.validate(stored)
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in stored["cells"])
    assert strange_paths(NOTEBOOK.read_text("utf-8")) == []


def test_stored_outputs(stored: Notebook, cells: Cells) -> None:
    """The stored outputs are those of this execution, times and sizes aside."""
    saved = {name: telling(cell) for name, cell in cells_of(stored).items()}
    assert saved == {name: telling(cell) for name, cell in cells.items()}, RENEW
