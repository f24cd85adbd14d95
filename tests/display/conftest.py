"""The terminal of the tests of bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bar_terminals import Tty, terminal

from aiocheckpoint._display.live import painter as painters

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Generator[Tty]:
    """Give a terminal of 40 columns, on which bars are drawn as a test asks for it."""
    for name in ("PAINT_SECONDS", "TICK_SECONDS", "_MOST_SECONDS"):
        monkeypatch.setattr(painters, name, 0.0 if name == "PAINT_SECONDS" else 60.0)
    monkeypatch.setattr(painters, "_SHARE", 0)
    with pytest.MonkeyPatch.context() as patch, terminal(patch) as found:
        yield found
