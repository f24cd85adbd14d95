"""Cards and saved notebooks in a real JupyterLab: light and dark, trusted and untrusted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from executed_notebooks import read_notebook, text_of
from lab_pages import CARDS, THEMES
from locations import EXAMPLES
from shown_objects import notebook_of, shown_orders

from aiocheckpoint._display.signs import SIGNS

if TYPE_CHECKING:
    from executed_notebooks import Notebook
    from lab_pages import DrawnText, LabPage

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = 4.5  # the least contrast, by WCAG 2.2, 1.4.3
SIGN = 3.0  # and that of signs, which have words beside them, by 1.4.11
PLAIN = """cards => cards.map((card) => {
  for (const each of card.querySelectorAll("svg")) each.remove();
  for (const each of card.querySelectorAll("*")) {
    each.removeAttribute("style");
    each.removeAttribute("class");
  }
  return card.innerText;
})"""
TRUSTED = f"{CARDS}.jp-mod-trusted"
NOTEBOOKS = ("cards", "checkpoint_flow", "train")
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_WORD = re.compile(r"\w+")
_SIGNS = {sign.sign for sign in SIGNS.values()} | {*"⚠+-~=→▏▎▍▌▋▊▉█▇░ "}


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Notebook]:
    """Give a notebook with a card of each kind, and those of the examples as they are saved."""
    with shown_orders(tmp_path_factory.mktemp("orders")) as objects:
        cards = notebook_of(objects)
    saved = {name: read_notebook(EXAMPLES / f"{name}.ipynb") for name in NOTEBOOKS[1:]}
    return {"cards": cards, **saved}


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
@pytest.mark.parametrize("name", NOTEBOOKS)
async def test_cards_are_readable_and_quiet(
    lab_page: LabPage,
    notebooks: dict[str, Notebook],
    name: str,
    trusted: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """All cards are there with their words, in both themes, and ask for nothing from elsewhere."""
    saved = notebooks[name]
    await lab_page.show(f"{name}-{trusted}", saved, trusted=trusted)
    assert [text_of(card) for card in await lab_page.cards()] == cards_in(saved)
    assert bool(await lab_page.cards(TRUSTED)) is trusted
    for theme in THEMES:
        await lab_page.set_theme(theme)
        drawn = await lab_page.texts()
        assert len(drawn) > 10
        assert [text for text in drawn if text.ratio < least(text)] == []
    assert lab_page.errors == []
    assert lab_page.foreign() == []


async def test_cards_read_well_without_styles(
    lab_page: LabPage, notebooks: dict[str, Notebook]
) -> None:
    """No word vanishes or runs into another one when all styles, classes and pictures are gone."""
    await lab_page.show("plain", notebooks["cards"], trusted=True)
    without = [_SVG.sub("", card) for card in await lab_page.cards()]
    plain = await lab_page.page.eval_on_selector_all(CARDS, PLAIN)
    assert [_WORD.findall(text) for text in plain] == [_WORD.findall(text_of(c)) for c in without]


def cards_in(notebook: Notebook) -> list[str]:
    """Give the words of each HTML output of a saved notebook."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    markup = [output["data"].get("text/html") for output in outputs if "data" in output]
    return [text_of(each) for each in markup if each is not None]


def least(drawn: DrawnText) -> float:
    """Give the contrast that a text must have."""
    return SIGN if set(drawn.text) <= _SIGNS else TEXT
