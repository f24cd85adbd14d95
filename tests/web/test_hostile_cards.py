"""Names, errors and values that try to break out of cards, SVG and Mermaid in a JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab_pages import OUTPUT
from shown_objects import HOSTILE, notebook_of, shown_orders

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._texts import harmless

if TYPE_CHECKING:
    from pathlib import Path

    from lab_pages import LabPage

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The elements that only a text that broke out could have made.
STRANGE = "script, style, img, iframe, h1, a, [onload], [onerror], [onclick]"
SHORT = 30  # Longer names are cut.
# JupyterLab draws Mermaid as an image, and says so where it cannot.
MERMAID = ".jp-RenderedMermaid img"
BROKEN = ".jp-RenderedMermaid.jp-mod-warning"
WORDS_OF_IMAGES = """images => Promise.all(images.map(async ({ src }) => {
  const drawn = new DOMParser().parseFromString(await (await fetch(src)).text(), "image/svg+xml");
  for (const style of drawn.querySelectorAll("style")) style.remove();
  return drawn.documentElement.textContent;
}))"""


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 4))
async def test_nothing_breaks_out(lab_page: LabPage, tmp_path: Path, first: int) -> None:
    """No text executes, loads, hides or makes anything, though the notebook is trusted."""
    names = [*HOSTILE[first:], *HOSTILE[:first]]
    with shown_orders(tmp_path, names) as objects:
        notebook = notebook_of(objects)
    await lab_page.page.evaluate("globalThis.harmed = 0")
    await lab_page.show(f"hostile-{first}", notebook, trusted=True)
    assert await lab_page.page.evaluate("globalThis.harmed") == 0
    assert await lab_page.page.locator(f":is({OUTPUT}) :is({STRANGE})").count() == 0
    assert lab_page.errors == []
    assert lab_page.foreign() == []


async def test_mermaid_draws_every_name(lab_page: LabPage, tmp_path: Path) -> None:
    """The Mermaid that JupyterLab ships reads each diagram, and shows each name as it is."""
    cp = CheckpointFlow(tmp_path / "flow.pkl")
    for name in HOSTILE:
        cp.add_step(name=name, load=lambda state: {}, save=lambda state, data: None)(print)
    diagram = cp.diagram()
    await lab_page.page.evaluate("globalThis.harmed = 0")
    text = f"```mermaid\n{diagram.mermaid}\n```"
    await lab_page.show("mermaid", notebook_of({"diagram": diagram}, text), trusted=True)
    await lab_page.page.wait_for_selector(f"{MERMAID}, {BROKEN}")
    assert await lab_page.page.locator(BROKEN).count() == 0
    (words,) = await lab_page.page.eval_on_selector_all(MERMAID, WORDS_OF_IMAGES)
    shown = [harmless(name) for name in HOSTILE if len(name) <= SHORT]
    assert len(shown) >= 4
    assert [name for name in shown if name not in words] == []
    assert await lab_page.page.evaluate("globalThis.harmed") == 0
    assert lab_page.foreign() == []
