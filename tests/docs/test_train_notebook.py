"""The day of a data scientist: examples/train.ipynb, executed in a real kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest
from executed_notebooks import (
    RENEW,
    cards_in,
    cells_of,
    execute,
    read_notebook,
    strange_paths,
    telling,
    text_of,
)
from locations import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from executed_notebooks import Cells, Notebook

NOTEBOOK = EXAMPLES / "train.ipynb"
STORED = read_notebook(NOTEBOOK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the kernel is started in."""
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def cells(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Execute the notebook in a kernel and give its cells by their ids."""
    for package in ("pyarrow", "sklearn"):
        pytest.importorskip(package, reason="needs pip install -e '.[test,examples]'")
    return cells_of(execute(NOTEBOOK, folder, tmp_path_factory.mktemp("ipython")))


@pytest.mark.timeout(600)
def test_stored_outputs(cells: Cells) -> None:
    """The stored outputs are those of this execution, times, sizes and scores aside."""
    saved = {name: telling(cell) for name, cell in cells_of(STORED).items()}
    assert saved == {name: telling(cell) for name, cell in cells.items()}, RENEW


@pytest.mark.timeout(600)
def test_leaves_nothing(cells: Cells, folder: Path) -> None:
    """The notebook tidies up: its folder is as empty as it was."""
    assert cells
    assert list(folder.iterdir()) == []


def test_stored_clean() -> None:
    """The stored notebook is valid, and tells nothing of the machine that executed it."""
    nbformat.validate(STORED)
    assert set(STORED["metadata"]) == {"kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in STORED["cells"])
    assert strange_paths(NOTEBOOK.read_text("utf-8")) == []


def test_stored_story() -> None:
    """The cells that break are those tagged for it, and nothing is done twice."""
    code = [cell for cell in STORED["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    tagged = [cell["id"] for cell in code if "raises-exception" in cell["metadata"].get("tags", ())]
    assert [cell["id"] for cell in code if error_of(cell)] == tagged == ["stopped", "broken"]
    told = {cell["id"]: "\n".join(telling(cell)) for cell in code}
    assert "0 of 8 parts are there" in told["stopped"]
    assert "3 of 8 parts are there" in told["broken"]
    assert "Edited since it ran, and not run again: 'train'" in told["edited-plan-code"]
    assert "MLPClassifier" in told["back"]


def test_stored_cards() -> None:
    """Each run has one card in its last state, as HTML and text, and above the error of its run."""
    stored = cells_of(STORED)
    ends = {
        "stopped": "cancelled at 2 of 6, redraw",
        "broken": "failed at 4 of 6, train",
        "until-train": "stopped at 5 of 6, answer",
        "back": "finished",
    }
    for name, end in ends.items():
        (card,) = cards_in(stored[name])
        assert end in card["text/plain"]
        assert end in text_of(card["text/html"])
        assert set(card) == {"text/html", "text/plain"}
    for name in ("stopped", "broken"):
        kinds = [output["output_type"] for output in stored[name]["outputs"]]
        assert kinds[-1] == "error"
        assert "display_data" in kinds


def test_stored_scores() -> None:
    """The second model is the better one, and both read most digits."""
    stored = cells_of(STORED)
    first, second = (result_of(stored[name]) for name in ("until-train", "back"))
    assert 0.8 < float(first["fits"]) < float(second["fits"])
    assert float(second["accuracy"]) > 0.9


def error_of(cell: Notebook) -> bool:
    """Tell whether a cell ended with an error."""
    return any(output["output_type"] == "error" for output in cell["outputs"])


def result_of(cell: Notebook) -> dict[str, str]:
    """Give the lines of the state that a cell gave, by their keys."""
    (result,) = [out for out in cell["outputs"] if out["output_type"] == "execute_result"]
    lines = result["data"]["text/plain"].strip("{}").replace("\n", "").split(", ")
    return dict(line.strip().replace("'", "").split(": ", 1) for line in lines)
