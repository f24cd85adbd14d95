"""A leased store in memory, on the base alone, passes every published conformance check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import SHORT
from memory_store import MemoryHandler, MemoryServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import StateHandler

    Check = Callable[[Callable[[], StateHandler]], None]

SECRET = "s" * 32
every_check = pytest.mark.parametrize("check", SHORT, ids=lambda check: check.__name__)


@every_check
@pytest.mark.parametrize(
    "options",
    [{}, {"keep": 3}, {"keep": "all"}, {"keep": 3, "secret": SECRET, "verify": True}],
    ids=["1", "3", "all", "signed-3"],
)
def test_memory_store(check: Check, options: dict[str, Any]) -> None:
    """The handler passes every check."""
    server = MemoryServer()
    handlers: list[MemoryHandler] = []

    def make() -> MemoryHandler:
        handlers.append(MemoryHandler(server, **options))
        return handlers[-1]

    check(make)
    for handler in handlers:
        handler.close()
    assert server.sessions == set()
