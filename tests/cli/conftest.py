"""Fixtures of the command line: a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from order_store import called_at_quarter_to

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def at_quarter_to() -> Iterator[None]:
    """Let the command line be called at a known time, in UTC."""
    with called_at_quarter_to():
        yield
