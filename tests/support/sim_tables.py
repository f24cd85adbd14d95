"""Tables with transactions: rows that are locked until a commit, and read as others commit them.

This is READ COMMITTED as PostgreSQL has it. A statement sees what was committed before it, and what
its own transaction has changed. One that meets a row which another transaction has changed waits
for the end of that one, and is carried out anew then.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from memory_store import Tables

__all__ = ["Change", "HeldRowError", "Overlay", "Transaction"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_GONE: Any = object()

Change = tuple[Any, Any, Any]
"""A key, and its value before and after. None for no row."""


class HeldRowError(Exception):
    """A row is held by another transaction.

    Args:
        holder: That one.
    """

    def __init__(self, holder: Transaction) -> None:
        super().__init__("the row is held")
        self.holder: Transaction = holder


class Overlay(MutableMapping[_Key, _Value], Generic[_Key, _Value]):
    """A table as one transaction sees it.

    Args:
        base: The committed rows.
        locks: The transaction that holds each row.
        owner: This transaction.

    Attributes:
        changed: The rows changed here.
        history: The changes, statement by statement.
    """

    def __init__(
        self, base: dict[_Key, _Value], locks: dict[Any, Transaction], owner: Transaction
    ) -> None:
        self.changed: dict[_Key, _Value] = {}
        self.history: list[Change] = []
        self._noted: dict[_Key, _Value | None] = {}
        self._base = base
        self._locks = locks
        self._owner = owner

    def __getitem__(self, key: _Key) -> _Value:
        value: Any = self.changed.get(key, _GONE)
        if value is _GONE and key not in self.changed:
            value = self._base.get(key, _GONE)
        if value is _GONE:
            raise KeyError(key)
        found: _Value = value
        return found

    def __setitem__(self, key: _Key, value: _Value) -> None:
        self.lock(key)
        self.changed[key] = value

    def __delitem__(self, key: _Key) -> None:
        if key in self:
            self.lock(key)
            self.changed[key] = _GONE

    def __iter__(self) -> Iterator[_Key]:
        for key in list(self._base):
            if self.changed.get(key) is not _GONE:
                yield key
        for key in list(self.changed):
            if key not in self._base and self.changed[key] is not _GONE:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # The methods of a set, for the one table that is one.

    def add(self, key: _Key) -> None:
        """Add a row that is its key alone."""
        self[key] = True  # type: ignore[assignment]

    def discard(self, key: _Key) -> None:
        """Delete a row."""
        del self[key]

    def note(self) -> None:
        """Remember what a statement has changed."""
        for key, value in self.changed.items():
            before = self._noted.get(key, self._base.get(key))
            after = None if value is _GONE else value
            if before is not after:
                self.history.append((key, before, after))
                self._noted[key] = after

    def commit(self) -> None:
        """Change the committed rows."""
        for key, value in self.changed.items():
            if value is _GONE:
                self._base.pop(key, None)
            else:
                self._base[key] = value

    def lock(self, key: _Key) -> None:
        """Lock a row.

        Raises:
            HeldRowError: Another transaction has it.
        """
        holder = self._locks.setdefault((id(self._base), key), self._owner)
        if holder is not self._owner:
            raise HeldRowError(holder)


class Transaction:
    """The changes of one session since its transaction began.

    Args:
        tables: The committed tables.
        locks: The transaction that holds each row.

    Attributes:
        tables: The tables as this transaction sees them.
        waiting: The statements of others that wait for its end.
        blocked_by: The transaction that this one waits for, or None.
    """

    def __init__(self, tables: Tables, locks: dict[Any, Transaction]) -> None:
        self._locks = locks
        self._runs = Overlay(tables.runs, locks, self)
        self._owners = Overlay(tables.owners, locks, self)
        draining: Any = tables.draining
        self._draining = Overlay[str, bool](draining, locks, self)
        seen: Any = self._runs, self._owners, self._draining, tables.kept, tables.progress
        self.tables = Tables(*seen)
        self._all: tuple[Overlay[Any, Any], ...] = self._runs, self._owners, self._draining
        self.waiting: list[Any] = []
        self.blocked_by: Transaction | None = None

    def hold(self, key: Any) -> bool:  # noqa: ANN401
        """Lock the row of a run, without a change. False where another one has it."""
        try:
            self._runs.lock(key)
        except HeldRowError:
            return False
        return True

    @property
    def has_changes(self) -> bool:
        """Whether anything was changed."""
        return any(table.changed for table in self._all)

    def savepoint(self) -> tuple[dict[Any, Any], ...]:
        """Give what to roll back to."""
        return tuple(dict(table.changed) for table in self._all)

    def roll_back_to(self, savepoint: tuple[dict[Any, Any], ...]) -> None:
        """Undo a statement that is to be carried out anew."""
        for table, changed in zip(self._all, savepoint, strict=True):
            table.changed = changed

    def note(self) -> None:
        """Remember what a statement has changed."""
        self._runs.note()
        self._owners.note()

    def commit(self) -> tuple[list[Change], list[Change]]:
        """Change the committed rows. Give the changes of runs and owners, by statements."""
        for table in self._all:
            table.commit()
        return self._runs.history, self._owners.history

    def end(self) -> list[Any]:
        """Let go of all rows. Give the statements that waited for them."""
        for key in [key for key, holder in self._locks.items() if holder is self]:
            del self._locks[key]
        waiting, self.waiting = self.waiting, []
        return waiting

    def waits_for(self, other: Transaction) -> bool:
        """Whether this one waits for the other one, also by way of others."""
        one: Transaction | None = self
        while one is not None:
            if one is other:
                return True
            one = one.blocked_by
        return False
