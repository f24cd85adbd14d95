"""The type of the connection that a step gets for its own statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import AsyncConnection, Connection
    from psycopg.rows import TupleRow

    class StepConnection(Connection[TupleRow]):
        """What `connection()` gives: a `Connection`, or an awaitable for an `AsyncConnection`.

        No object is of this class. It lets type checkers know both uses.
        """

        def __await__(self) -> Generator[Any, None, AsyncConnection[TupleRow]]:
            """Await the connection in a coroutine."""
            ...


__all__ = ["StepConnection"]
