"""One JupyterLab and one browser for all tests of this folder, which are skipped without."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from jupyter_lab import jupyter_lab
from lab_pages import LabPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from jupyter_lab import Lab
    from lab_pages import Browser

WEB = "needs JupyterLab and Playwright: pip install -e '.[test,test-web]'"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a JupyterLab."""
    if find_spec("jupyterlab") is None:
        pytest.skip(WEB)
    with jupyter_lab(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab_page(lab: Lab, browser: Browser) -> LabPage:
    """Give the page of the JupyterLab, which each test shows its notebooks in."""
    return await LabPage.opened(browser, lab)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give a headless Chromium, that of the system, as Playwright's own would be a download."""
    playwright = pytest.importorskip("playwright.async_api", reason=WEB)
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the program chromium: apt-get install chromium")
    async with playwright.async_playwright() as started:
        yield await started.chromium.launch(executable_path=program, args=FLAGS)
