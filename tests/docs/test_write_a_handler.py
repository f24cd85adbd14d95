"""The handler of the page about writing one passes all conformance checks, killed processes too."""

from __future__ import annotations

import re
import sqlite3
import sys
import threading
import time
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT

from aiocheckpoint import StorageError
from aiocheckpoint.testing import HANDLER_CHECKS, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiocheckpoint.handlers.leased import LeasedStateHandler
    from aiocheckpoint.testing import HandlerCheck

MODULE = "plain_handler"
PAGE = (ROOT / "docs" / "write_a_handler.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```(\n\n```text)?", re.DOTALL | re.MULTILINE)
KEEPING = [check for check in HANDLER_CHECKS if check.__module__.endswith("_checks_keeping")]


class DatabaseFaults(Faults):
    """Faults of a database file, by a connection of the tests' own."""

    def __init__(self, path: str) -> None:
        """Connect to nothing yet."""
        self._path = path

    def steal(self, run_id: str | None) -> None:
        """Release a run in its row."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            name = (run_id or "").encode("utf-8", "surrogatepass")
            connection.execute("UPDATE runs SET owner = NULL, token = 0 WHERE run_id = ?", (name,))

    def outage(self, seconds: float) -> None:
        """Keep all others out of the file. They see it locked."""
        begun = threading.Event()

        def hold() -> None:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                begun.set()
                time.sleep(seconds)

        threading.Thread(target=hold).start()
        begun.wait()

    def rows(self) -> int:
        """Count the rows of runs and of what is beside them."""
        with closing(sqlite3.connect(self._path)) as connection:
            counts = "(SELECT count(*) FROM runs), (SELECT count(*) FROM kept)"
            beside = "(SELECT count(*) FROM progress)"
            return sum(connection.execute(f"SELECT {counts}, {beside}").fetchone())


@pytest.fixture(scope="module")
def plain_handler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[LeasedStateHandler]]:
    """Import the code of the page, up to its first use of the handler."""
    folder = tmp_path_factory.mktemp("module")
    # A block that prints something is no part of the module, but uses it.
    sources = [source for source, shown in BLOCK.findall(PAGE) if not shown]
    (folder / f"{MODULE}.py").write_text("\n\n".join(sources), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield import_module(MODULE).PlainHandler
    del sys.modules[MODULE]


@pytest.mark.parametrize(
    ("check", "keep"),
    [
        *((check, 3) for check in HANDLER_CHECKS),
        *((check, keep) for keep in (1, "all") for check in KEEPING),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_handler_of_the_page(
    check: HandlerCheck,
    keep: Any,  # noqa: ANN401 - as a handler takes it
    plain_handler: Callable[..., LeasedStateHandler],
    tmp_path: Path,
) -> None:
    """The handler passes every check that its store allows."""
    path = f"{tmp_path}/runs.db"
    check(lambda: plain_handler(path, lease=1, patience=5, keep=keep), DatabaseFaults(path))


def test_error_of_the_page(plain_handler: Callable[..., LeasedStateHandler]) -> None:
    """A place that cannot be used is an error that names it, and nothing is repeated."""
    handler = plain_handler("/nowhere/runs.db")
    with pytest.raises(StorageError, match=r"/nowhere/runs\.db cannot be used: unable to") as info:
        handler.write({"n": 1}, "x")
    assert type(info.value) is StorageError
