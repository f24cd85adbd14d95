"""A store whose `connect` breaks its rules: the error says whose fault it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.leased import LeasedStateHandler, LeasedStore

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import StoreConnection

Use = Callable[[LeasedStateHandler], object]


@dataclass(frozen=True)
class Mistaken(LeasedStore):
    """A store that nobody can connect to."""

    kind: ClassVar[str] = "Mistaken"
    error: Exception | None

    @property
    def location(self) -> str:
        """A place without a password."""
        return "mistaken://host"

    def connect(self, *, writes: bool) -> StoreConnection:
        """Raise the error, or give no connection."""
        del writes
        if self.error is not None:
            raise self.error
        return None  # type: ignore[return-value] # pyright: ignore[reportReturnType]


USES: dict[str, Use] = {
    "read": lambda handler: handler.read("a"),
    "write": lambda handler: handler.write({"n": 1}, "a"),
    "runs": lambda handler: handler.runs(Query()),
    "run": lambda handler: _flow(handler).run({}, run_id="a"),
}


def _flow(handler: LeasedStateHandler) -> CheckpointFlow[dict[str, Any]]:
    cp = CheckpointFlow[dict[str, Any]]("mistaken", handler, name="f")
    cp.add_step(name="a")(lambda state: None)
    return cp


def raised(error: Exception | None, use: str) -> Exception:
    """Use a store, and give its error."""
    handler = LeasedStateHandler(Mistaken(error), flow="f", patience=60)
    try:
        with pytest.raises(Exception) as info:  # noqa: PT011 - each kind is checked by the caller
            USES[use](handler)
    finally:
        handler.close()
    return info.value


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", [ValueError, ConnectionRefusedError, KeyError])
def test_raw_error(kind: type[Exception], use: str) -> None:
    """It comes out at once, or as the cause of a StorageError, with a note on whose fault it is."""
    error = kind("an error of a driver")
    found = raised(error, use)
    assert not isinstance(found, StoreUnreachableError)
    assert error in (found, found.__cause__)
    (note, *_) = error.__notes__
    assert "Mistaken.connect() has let out this error of mistaken://host" in note
    assert "StoreUnreachableError for an outage" in note


@pytest.mark.parametrize("use", USES)
def test_no_connection(use: str) -> None:
    """A `connect` without a result is told so, and no method of None."""
    assert "Mistaken.connect() returned None" in str(raised(None, use))


@pytest.mark.parametrize("use", USES)
def test_error_of_the_library(use: str) -> None:
    """An error that the author raises as they should comes out as it is."""
    given = StorageError("mistaken://host", "the tables are of another program.")
    assert str(raised(given, use)) == "the tables are of another program."
