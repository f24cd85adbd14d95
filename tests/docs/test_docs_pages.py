"""The pages under docs/: their code runs, their links lead somewhere, the index names them all."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = next(path for path in Path(__file__).parents if (path / "pyproject.toml").exists())
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PROSE = [*PAGES, ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Give each Python block of a page, with the text that it has to print."""
    return BLOCK.findall(page.read_text("utf-8"))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Give one event loop for all blocks of a page, as a notebook has one."""
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem
)
def test_code_prints_what_the_page_shows(
    page: Path,
    runner: asyncio.Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The Python blocks run in order, and each prints the text block behind it, or nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKPOINT_SECRET", "s" * 32)
    names: dict[str, Any] = {"__name__": "__main__"}
    # A page may register a handler, which holds for the whole process.
    with patch.dict(CheckpointFlow.state_handler_constructors):
        for source, shown in blocks(page):
            code = compile(source, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            made = eval(code, names)  # noqa: S307 - the page's own code
            if inspect.iscoroutine(made):
                runner.run(made)
            assert (source, capsys.readouterr().out) == (source, shown)


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link is the path of a file of the project."""
    prose = CODE.sub("", page.read_text("utf-8"))
    links = [link for link, _ in LINK.findall(prose)]
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_index_lists_every_page() -> None:
    """The index links to each page beside it."""
    linked = {link for link, _ in LINK.findall((DOCS / "index.md").read_text("utf-8"))}
    assert {page.name for page in PAGES} - {"index.md"} <= linked


def test_reliability_names_tests_that_exist() -> None:
    """Each row of the table of faults begins with two words, and names files of tests."""
    page = (DOCS / "reliability.md").read_text("utf-8")
    table = page.partition("\n## ")[0]  # Those below are about other things.
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    assert [fault for fault, *_ in rows[1:] if len(re.findall(r"[\w-]+", fault)) != 2] == []
    named = {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", page)}
    assert named - {path.name for path in (ROOT / "tests").rglob("*.py")} == set()
