r"""Statements for many rows at once, whose values are few parameters.

The bytes of all rows travel as one value, which the server cuts by offsets. Numbers and short
values travel as the text of an array. psycopg would make an array of bytes in Python, which takes
9 µs a row instead of 1.5. A single row travels as it is, so that only libpq copies its snapshot.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Call", "RowStatement", "Whole", "WholeDumper"]

_BYTEA = 17
"""The type bytea (pg_type.dat in https://github.com/postgres/postgres)."""


class Whole:
    """Bytes that libpq gets as they are. psycopg would copy `bytes` first.

    Args:
        value: The bytes.
    """

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value


class WholeDumper(Dumper):
    """Gives such bytes to psycopg."""

    format = Format.BINARY
    oid = _BYTEA

    def dump(self, obj: Whole) -> bytes:
        """Give the bytes themselves."""
        return obj.value


class Call(NamedTuple):
    """A statement with the values of some rows.

    Attributes:
        statement: Its text.
        values: Its values by name.
        size: The number of bytes in the values that are cut.
        prepare: Whether the server may plan it once for all. None lets psycopg decide. False for
            many rows: a plan that was made for a small table reads a large one from end to end.
    """

    statement: str
    values: Mapping[str, Any] | tuple[Any, ...]
    size: int = 0
    prepare: bool | None = None


class RowStatement:
    """A statement for rows.

    Args:
        text: The statement. ROWS stands for the source of the rows, behind FROM. Its name is v.
            KEYS stands for a source of the same rows with the columns `keys`.
        columns: The columns of the rows and their types: bigint, double precision, boolean, text
            (of ASCII) and bytea for short values.
        cut: The columns with large values of bytes, which follow the others.
        keys: Names of some of the columns.
    """

    def __init__(
        self,
        text: str,
        columns: dict[str, str],
        cut: tuple[str, ...] = (),
        keys: tuple[str, ...] = (),
    ) -> None:
        self._columns = columns
        self._cut = cut
        some = {name: columns[name] for name in keys}
        for_many = text.replace("ROWS", f"{_many_rows(columns, cut)} AS v")
        self._many = for_many.replace("KEYS", f"{_many_rows(some, ())} AS keys")
        for_one = text.replace("ROWS", f"{_one_row(columns, cut)} AS v")
        self._one = for_one.replace("KEYS", f"{_one_row(some, ())} AS keys")

    def call(self, rows: Sequence[tuple[Any, ...]], **common: object) -> Call:
        """Give the statement for these rows, one at least.

        Args:
            rows: The values of each, in the order of the columns. None is for NULL.
            common: Other values of the statement.
        """
        if len(rows) == 1:
            return self._call_for_one(rows[0], common)
        values, columns = common, list(zip(*rows, strict=True))
        for (name, kind), column in zip(self._columns.items(), columns, strict=False):
            values[name] = _array(kind, column)
        parts: list[bytes] = []
        size = 0
        for name, column in zip(self._cut, columns[len(self._columns) :], strict=True):
            sizes = [0 if part is None else len(part) for part in column]
            values[f"{name}_at"] = _array("bigint", list(accumulate(sizes, initial=size + 1))[:-1])
            values[f"{name}_size"] = _array("bigint", [part and len(part) for part in column])
            parts += filter(None, column)
            size += sum(sizes)
        if self._cut:
            values["bytes"] = Whole(b"".join(parts))
        return Call(self._many, values, size, prepare=False)

    def _call_for_one(self, row: tuple[Any, ...], values: dict[str, Any]) -> Call:
        """Numbers travel as texts, so that the statement has parameters of the same types."""
        for (name, kind), value in zip(self._columns.items(), row, strict=False):
            values[name] = value if value is None or kind in {"text", "bytea"} else repr(value)
        cut = row[len(self._columns) :]
        whole = [None if part is None else Whole(part) for part in cut]
        values.update(zip(self._cut, whole, strict=True))
        return Call(self._one, values, sum(len(part) for part in cut if part is not None))


def _many_rows(columns: dict[str, str], cut: tuple[str, ...]) -> str:
    given = {**columns, **{f"{name}_{what}": "integer" for name in cut for what in ("at", "size")}}
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in given.items())
    unnested = f"unnest({arrays}) AS given ({', '.join(given)})"
    if not cut:
        return f"(SELECT * FROM {unnested})"  # noqa: S608
    parts = [f"substring(bytes FROM {name}_at FOR {name}_size) AS {name}" for name in cut]
    shown = ", ".join([*columns, *parts])
    return f"(SELECT {shown} FROM (SELECT %(bytes)b::bytea AS bytes) AS whole, {unnested})"  # noqa: S608


def _one_row(columns: dict[str, str], cut: tuple[str, ...]) -> str:
    values = [f"%({name})s::{kind} AS {name}" for name, kind in columns.items()]
    parts = [f"%({name})b::bytea AS {name}" for name in cut]
    return f"(SELECT {', '.join(values + parts)})"


def _array(kind: str, column: Sequence[Any]) -> str:
    """The text of an array."""
    make = _MAKERS.get(kind)
    if make is None and None not in column:
        return f"{{{str(list(column))[1:-1]}}}"
    make = make or repr
    return f"{{{','.join(['NULL' if value is None else make(value) for value in column])}}}"


def _in_hex(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


@lru_cache(1024)
def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_MAKERS: dict[str, Any] = {"text": _quoted, "bytea": _in_hex}
"""How the values of a type become text. Numbers and flags do so by `repr`."""
