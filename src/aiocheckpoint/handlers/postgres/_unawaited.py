"""Statements of a coroutine that were called without `await`, which the server never gets."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from psycopg.abc import Params, Query

__all__ = ["StepCursor", "UnawaitedStatements"]

_RowT = TypeVar("_RowT", covariant=True)  # noqa: PLC0105 - as the names of this library are
_Result = TypeVar("_Result")

_WITHOUT_VALUES = re.compile(r'\s*(?:(?:[A-Za-z_][\w$]*|"[^"]*"|[.,*(])\s*)+')
"""The beginning of a statement, up to the first value or placeholder."""
_MOST_CHARACTERS = 60


class UnawaitedStatements:
    """The statements of an attempt that nobody has awaited yet."""

    def __init__(self) -> None:
        self._called: dict[object, object] = {}

    def watch(
        self, query: object, execute: Callable[[], Coroutine[Any, Any, _Result]]
    ) -> Coroutine[Any, Any, _Result]:
        """Give a coroutine that executes a statement, and note that it is to be awaited.

        Args:
            query: The statement.
            execute: Makes the coroutine of psycopg.
        """
        mark = object()

        async def awaited() -> _Result:
            self._called.pop(mark, None)
            return await execute()

        awaited.__qualname__ = "execute"  # Python's own warning names it.
        self._called[mark] = query
        return awaited()

    @property
    def first(self) -> str | None:
        """The beginning of the first one, without its values. None if all were awaited."""
        for query in list(self._called.values()):
            return _beginning(query)
        return None


def _beginning(query: object) -> str:
    text = ""
    with suppress(Exception):  # An object of psycopg may need the connection for its text.
        text = query.as_string(None) if isinstance(query, sql.Composable) else str(query)
        text = query.decode() if isinstance(query, bytes) else text
    found = _WITHOUT_VALUES.match(text)
    words = " ".join(found[0].split()) if found else ""
    if not words:
        return "a statement"
    return f"the statement that begins with {words[:_MOST_CHARACTERS].rstrip(' (')!r}"


class StepCursor(psycopg.AsyncCursor[_RowT]):
    """A cursor of the connection of a coroutine, whose statements are to be awaited as well."""

    # Plain functions, as they note the statement before it is awaited.
    def execute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Coroutine[Any, Any, Self]:
        call: Any = super().execute  # Two overloads, by the kind of query.
        return self._watched(query, lambda: call(query, params, prepare=prepare, binary=binary))

    def executemany(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> Coroutine[Any, Any, None]:
        call = super().executemany
        return self._watched(query, lambda: call(query, params_seq, returning=returning))

    def _watched(
        self, query: object, execute: Callable[[], Coroutine[Any, Any, _Result]]
    ) -> Coroutine[Any, Any, _Result]:
        unawaited: UnawaitedStatements = self._conn.unawaited  # type: ignore[attr-defined]
        return unawaited.watch(query, execute)
