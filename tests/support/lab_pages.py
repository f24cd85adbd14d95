"""Notebooks in the pages of a JupyterLab, as a headless Chromium draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from executed_notebooks import cards_in
from locations import SUPPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_lab import Lab

# Classes of Playwright. The type checks run without it.
Browser: TypeAlias = Any
Page: TypeAlias = Any
ConsoleMessage: TypeAlias = Any

THEMES = ("JupyterLab Light", "JupyterLab Dark")
OUTPUT = ".jp-Notebook .jp-OutputArea-output"
CARDS = ".jp-OutputArea-output[data-mime-type='text/html']"
PATIENCE = 60_000.0  # milliseconds
_CONTRAST = (SUPPORT / "contrast.js").read_text()
_SHOW = """async ({ path, kernel }) => {
  const { commands, shell } = jupyterapp;
  for (const widget of [...shell.widgets("main")]) {
    if (widget.context) widget.context.model.dirty = false;  // else it asks whether to save
    widget.close();
  }
  const kernelPreference = { shouldStart: kernel, canStart: kernel, autoStartDefault: kernel };
  await commands.execute("docmanager:open", { path, factory: "Notebook", kernelPreference });
}"""
_CHANGE_THEME = "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })"
_THEME_IS = "theme => document.body.dataset.jpThemeName === theme"
_ALL_DRAWN = f"count => document.querySelectorAll(`{CARDS}`).length >= count"
_OPEN_ALL = "document.querySelectorAll('details').forEach(details => { details.open = true; })"


@dataclass(frozen=True)
class DrawnText:
    """A text of a page, and how well it can be read.

    Attributes:
        text: The text, without the blanks around it.
        colour: Red, green and blue of its colour, each of 0 to 255.
        ground: The same of what is behind it.
        ratio: The contrast of the two, of 1 to 21.
    """

    text: str
    colour: Sequence[float]
    ground: Sequence[float]
    ratio: float


@dataclass
class LabPage:
    """The page of a JupyterLab, with one notebook at a time.

    Attributes:
        lab: The JupyterLab.
        page: The page of Playwright.
        errors: The texts of the errors and of the uncaught exceptions in its console.
        requested: The addresses that it asked for.
    """

    lab: Lab
    page: Page
    errors: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    async def show(self, name: str, notebook: Any, *, trusted: bool, kernel: bool = False) -> None:  # noqa: ANN401 (plain JSON)
        """Show a notebook in place of the last one.

        Args:
            name: A name that no other notebook of the JupyterLab has.
            notebook: A notebook of `nbformat`.
            trusted: Whether the user has trusted it.
            kernel: Whether a kernel is started for it.
        """
        self.lab.put(name, notebook, trusted=trusted)
        self.errors.clear()
        self.requested.clear()
        await self.page.evaluate(_SHOW, {"path": f"{name}.ipynb", "kernel": kernel})
        count = sum(len(cards_in(cell)) for cell in notebook["cells"])
        await self.page.wait_for_function(_ALL_DRAWN, arg=count, timeout=PATIENCE)
        await self.page.evaluate(_OPEN_ALL)

    async def set_theme(self, theme: str) -> None:
        """Draw the page in one of `THEMES`."""
        await self.page.evaluate(_CHANGE_THEME, theme)
        await self.page.wait_for_function(_THEME_IS, arg=theme, timeout=PATIENCE)

    async def texts(self, selector: str = CARDS) -> list[DrawnText]:
        """Give all texts that are drawn inside the elements that a selector names."""
        return [DrawnText(**each) for each in await self.page.evaluate(_CONTRAST, selector)]

    async def cards(self, selector: str = CARDS) -> list[str]:
        """Give the HTML of each such element, as JupyterLab has let it through."""
        script = "all => all.map(each => each.innerHTML)"
        return list(await self.page.eval_on_selector_all(selector, script))

    def foreign(self) -> list[str]:
        """Give the addresses that it asked for outside of its JupyterLab."""
        own = (self.lab.url, self.lab.url.replace("http:", "ws:", 1), "data:", "blob:")
        return [url for url in self.requested if not url.startswith(own)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    @classmethod
    async def opened(cls, browser: Browser, lab: Lab) -> LabPage:
        """Open a JupyterLab without any notebook in a new page of a browser."""
        context = await browser.new_context(viewport={"width": 1200, "height": 900})
        made = cls(lab, await context.new_page())
        made.page.on("console", made._hear)
        made.page.on("pageerror", lambda error: made.errors.append(str(error)))
        made.page.on("request", lambda request: made.requested.append(request.url))
        await made.page.goto(f"{lab.url}lab?token={lab.token}", timeout=PATIENCE)
        await made.page.wait_for_function("window.jupyterapp !== undefined", timeout=PATIENCE)
        await made.page.evaluate("async () => { await jupyterapp.restored; }")
        return made
