"""What a database with an index gives its reader: rows by their keys, and numbers by columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._model.start_record import Ownership
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["Choice", "FoundRow", "IndexRows", "KeptRow"]

_LEAST_KEYS, _MOST_KEYS = 50, 10_000
"""A page of keys may be sorted from all rows of a filter, so that many are asked for at once."""
_ROWS_AT_ONCE = 500


class Choice(NamedTuple):
    """Which runs a list has, and in which order.

    Attributes:
        flow: Name of the flow. Empty for all.
        where: The filter.
        sort: The order. None for that of the rows.
        limit: The most runs, None for all.
    """

    flow: str
    where: RunFilter
    sort: Sort | None = None
    limit: int | None = None

    @property
    def page(self) -> int:
        """How many keys the first page has."""
        return min(_MOST_KEYS, max(self.limit or _MOST_KEYS, _LEAST_KEYS))


class FoundRow(NamedTuple):
    """The row of a run that has a snapshot.

    Attributes:
        id: Id of the row.
        flow: Name of the flow.
        run_id: The run, or None.
        footer: The footer of the snapshot.
        payload_length: Length of its payload in bytes.
        known: What the columns beside it say.
        lost: Why nothing but the key can be read, or None.
    """

    id: int
    flow: str
    run_id: str | None
    footer: bytes = b""
    payload_length: int = 0
    known: Ownership | None = None
    lost: str | None = None


class KeptRow(NamedTuple):
    """A kept snapshot of a run: its numbers, its footer, and the length of its payload."""

    number: int
    sequence: int
    footer: bytes
    payload_length: int


class IndexRows(ABC):
    """The rows of a database that is open for reading alone.

    Each method raises StorageError where the database cannot be read.
    """

    @abstractmethod
    def flow_names(self) -> list[str]:
        """Give the names of the flows that have a run, in their order."""

    @abstractmethod
    def keys(self, choice: Choice, last: Any, size: int) -> list[Any]:  # noqa: ANN401 - its own
        """Give the page of keys behind one, or the first page. A key has the `id` of its row.

        Where columns do not decide the filter, there are more keys than it chooses.
        """

    @abstractmethod
    def rows(self, ids: Sequence[int]) -> list[FoundRow]:
        """Give the rows with these ids that have a snapshot, in the order of the ids."""

    @abstractmethod
    def rows_of_run(self, flow: str, run_id: str | None) -> Sequence[FoundRow]:
        """Give the row of a run, if it has a snapshot."""

    @abstractmethod
    def newest_finished(self, flow: str, limit: int) -> list[int]:
        """Give the ids of the rows of the finished runs that were stored first most recently."""

    @abstractmethod
    def decides(self, where: RunFilter) -> bool:
        """Whether the keys of a choice are those of its filter, and no others."""

    @abstractmethod
    def counts(self, flow: str, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count runs by facts that columns have, chosen by columns alone."""

    @abstractmethod
    def total(self, flow: str) -> int:
        """Count all runs of a flow."""

    @abstractmethod
    def summary(self, flow: str) -> FlowSummary:
        """Sum up a flow. Its steps are left empty."""

    @abstractmethod
    def kept(self, row: int, most: int | None) -> list[KeptRow]:
        """Give the kept snapshots of a run, the newest first."""

    @abstractmethod
    def snapshot(self, row: int, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        """Read payload and footer of the newest snapshot of a run, or of a kept one."""

    @abstractmethod
    def progress(self, row: int) -> bytes | None:
        """Read the record of the progress of a run."""

    def chosen(self, choice: Choice) -> Iterator[FoundRow]:
        """Give the rows of a list. The limit of the choice says how many are probably needed."""
        last, size = None, choice.page
        while True:
            keys = self.keys(choice, last, size)
            for start in range(0, len(keys), _ROWS_AT_ONCE):
                yield from self.rows([key.id for key in keys[start : start + _ROWS_AT_ONCE]])
            if len(keys) < size:
                return
            last, size = keys[-1], _MOST_KEYS
