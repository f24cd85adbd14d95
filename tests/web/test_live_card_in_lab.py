"""A card that is updated while a cell runs in a real JupyterLab, and what is saved of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from executed_notebooks import cards_in, read_notebook, text_of
from lab_pages import OUTPUT, PATIENCE
from nbformat.v4 import new_code_cell, new_notebook
from shown_objects import KERNEL

if TYPE_CHECKING:
    from lab_pages import LabPage

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLOW = """
import time
from pathlib import Path
from aiocheckpoint import CheckpointFlow, current_step

cp = CheckpointFlow("live.pkl", progress="card")

@cp.add_step()
def download(state):
    for page in range(1, 41):
        current_step().progress(page, 40, "pages")
        while page == 20 and not Path("go").exists():
            time.sleep(0.01)

@cp.add_step()
def publish(state):
    raise ConnectionError("no answer")
"""
READY = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN = "() => { jupyterapp.commands.execute('notebook:run-all-cells'); }"  # not waited for
SAVE = "jupyterapp.commands.execute('docmanager:save')"
OUTPUTS = "all => all.map(each => each.dataset.mimeType ?? '')"
SAYS = f"""words => [...document.querySelectorAll('{OUTPUT}')].some(
  (each) => words.every((word) => each.innerText.includes(word)),
)"""


async def test_one_card_is_updated_and_saved(lab_page: LabPage) -> None:
    """It says how far the step is, stays above the error, and is saved in its last state."""
    cells = [new_code_cell(FLOW), new_code_cell("cp.run()")]  # type: ignore[no-untyped-call]
    notebook = new_notebook(metadata=KERNEL, cells=cells)  # type: ignore[no-untyped-call]
    await lab_page.show("live", notebook, trusted=True, kernel=True)
    await lab_page.page.wait_for_function(READY, timeout=PATIENCE)
    await lab_page.page.evaluate(RUN)
    await lab_page.page.wait_for_function(
        SAYS, arg=["download", "20", "40 pages"], timeout=PATIENCE
    )
    assert await lab_page.page.locator(OUTPUT).count() == 1
    (lab_page.lab.folder / "go").touch()
    await lab_page.page.wait_for_function(SAYS, arg=["Traceback", "no answer"], timeout=PATIENCE)
    shown = await lab_page.page.eval_on_selector_all(OUTPUT, OUTPUTS)
    assert shown == ["text/html", "application/vnd.jupyter.stderr"]
    (drawn,) = await lab_page.cards()
    assert "failed at 2 of 2, publish" in text_of(drawn)
    await lab_page.page.evaluate(SAVE)
    _, run = read_notebook(lab_page.lab.folder / "live.ipynb")["cells"]
    (card,) = cards_in(run)
    assert set(card) == {"text/html", "text/plain"}
    assert text_of(card["text/html"]) == text_of(drawn)
    assert "failed at 2 of 2, publish" in card["text/plain"]
    assert [output["output_type"] for output in run["outputs"]] == ["display_data", "error"]
    assert lab_page.foreign() == []
