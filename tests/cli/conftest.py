"""Fixtures of the command line: a clock that stands still."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from order_store import NOW

from aiocheckpoint._display import times

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def at_quarter_to() -> Iterator[None]:
    """Let the command line be called at a known time, in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "now", lambda: NOW)
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()
