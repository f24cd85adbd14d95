"""The pictures of the page of diagrams are those of the flow that stands on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT

from aiocheckpoint import CheckpointFlow, Diagram

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
PAGE = (DOCS / "diagrams.md").read_text("utf-8")


@pytest.fixture
def diagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagram:
    """The diagram of the flow of the page."""
    monkeypatch.chdir(tmp_path)
    source = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "diagrams.md", "exec"), names)  # noqa: S102 - the page's own code
    assert isinstance(names["cp"], CheckpointFlow)
    assert (tmp_path / "orders.svg").read_text("ascii") == f"{names['cp'].diagram().svg}\n"
    return names["cp"].diagram()


def test_the_picture(diagram: Diagram) -> None:
    """The file beside the page is today's picture."""
    assert (DOCS / "orders.svg").read_text("ascii") == f"{diagram.svg}\n"


def test_the_mermaid(diagram: Diagram) -> None:
    """So is the text of Mermaid."""
    assert re.findall(r"^```mermaid\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE) == [
        diagram.mermaid
    ]
