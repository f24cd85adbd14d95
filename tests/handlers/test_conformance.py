"""Every handler of the library passes every published conformance check that is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import SHORT
from simulated_processes import handler_apart, shut_down

from aiocheckpoint import LocalStateHandler
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.testing import HandlerCheck

SECRET = "s" * 32
every_check = pytest.mark.parametrize("check", SHORT, ids=lambda check: check.__name__)


@every_check
@pytest.mark.parametrize("keep", [1, 3])
def test_local_directory(check: HandlerCheck, keep: int, tmp_path: Path) -> None:
    """The local handler passes every check in a directory of many runs as well."""
    check(lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False, keep=keep))


@every_check
def test_local_by_leases(check: HandlerCheck, tmp_path: Path) -> None:
    """The local handler passes every check with renewed lock files as well."""
    check(lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False, lock="lease", lease=5))


@every_check
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fsync": False},
        {"fsync": False, "keep": 3},
        {"fsync": False, "keep": "all"},
        {"fsync": False, "secret": SECRET},
        {"fsync": False, "keep": 3, "secret": SECRET, "verify": True},
        {"fsync": False, "keep": 3, "allow": ()},
    ],
    ids=["durable", "plain", "3", "all", "signed", "signed-3", "data"],
)
def test_sqlite(check: HandlerCheck, options: dict[str, Any], tmp_path: Path) -> None:
    """The SQLite handler passes every check."""
    check(lambda: SqliteStateHandler(tmp_path / "runs.db", **options))


@every_check
def test_sqlite_of_several_processes(check: HandlerCheck, tmp_path: Path) -> None:
    """The SQLite handler passes every check with a separate owner for each handler object."""
    made: list[SqliteStateHandler] = []

    def make() -> SqliteStateHandler:
        made.append(handler_apart(tmp_path / "runs.db", fsync=False))
        return made[-1]

    try:
        check(make)
    finally:
        for handler in made:
            shut_down(handler)
