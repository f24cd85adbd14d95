"""Connections to leased stores, and handlers of them, that are each wrong in one way.

Each class is put before the connection of a store, among the bases of a new class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint.handlers.leased import LeasedStateHandler, StoreConnection
from aiocheckpoint.handlers.leased._lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memory_store import MemoryConnection as AnyConnection

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased import (
        Claim,
        LeaseRecord,
        OwnedRow,
        OwnerBeat,
        Release,
        RunRow,
        Save,
        StoredRun,
    )
    from aiocheckpoint.handlers.leased._requests import Key
else:
    AnyConnection = StoreConnection


class FaultyConnection(AnyConnection):
    """A base for connections with a fault. The store's own class comes behind it.

    Attributes:
        token_of: Gives the token that a row has now. A method of the store's own class.
        free_row: Takes owner and token from the row of a run that has this token. Another one.
    """

    token_of: Callable[[int], int]
    free_row: Callable[[Key, int], None]


class NeverFrees(FaultyConnection):
    """An owner that is gone is never succeeded."""

    def free(self, owner_id: str, loss: Loss | None) -> None:
        """Free nothing."""


class ListsOwned(FaultyConnection):
    """`unowned=` is ignored."""

    def list_runs(self, flow: str | bytes, query: Query, after: RunRow | None) -> list[RunRow]:
        """List runs with an owner as well."""
        return super().list_runs(flow, query._replace(unowned=False), after)


class NeverPrunes(FaultyConnection):
    """`keep=` never deletes."""

    def prune(self, saves: Sequence[Save]) -> None:
        """Delete nothing."""


class RetainsNothing(FaultyConnection):
    """Only the newest snapshot is kept, whatever `keep=` says."""

    def retain(self, saves: Sequence[Save]) -> None:
        """Keep nothing."""


class RetainsAmended(FaultyConnection):
    """`amends=` is ignored."""

    def retain(self, saves: Sequence[Save]) -> None:
        """Keep amended snapshots as well."""
        super().retain([replace(save, amends=None) for save in saves])


class Unfenced(FaultyConnection):
    """`replace` and `remove` do not ask the fence."""

    def save_steps(self, saves: Sequence[Save]) -> int:
        """Save with the token of whoever has the run."""
        return super().save_steps([self._unfenced(save) for save in saves])

    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        """Save with the token of whoever has the run."""
        return super().save_statuses([self._unfenced(save) for save in saves], owner_id)

    def delete(self, lease: LeaseRecord) -> bool:
        """Delete with the token of whoever has the run."""
        return super().delete(replace(lease, token=self.token_of(lease.row)))

    def _unfenced(self, save: Save) -> Save:
        lease = replace(save.lease, token=self.token_of(save.lease.row))
        return replace(save, lease=lease)


class HidesOwners(FaultyConnection):
    """Owners are not told in lists, nor of single runs."""

    def list_runs(self, flow: str | bytes, query: Query, after: RunRow | None) -> list[RunRow]:
        """List runs without their owners."""
        rows = super().list_runs(flow, query, after)
        return [row._replace(owned=_hidden(row.owned)) for row in rows]

    def read_ownership(self, key: Key) -> OwnedRow | None:
        """Read no owner."""
        found = super().read_ownership(key)
        return None if found is None else _hidden(found)


def _hidden(owned: OwnedRow) -> OwnedRow:
    return owned._replace(owner_id=None, owner=None)


class BeatsOnce(FaultyConnection):
    """Leases are never renewed."""

    def heartbeat(self, owner: OwnerBeat) -> None:
        """Store the first heartbeat alone."""
        if owner.beat == 1:
            super().heartbeat(owner)


class LeavesRows(FaultyConnection):
    """Locks leave rows behind."""

    def release(self, releases: Sequence[Release]) -> None:
        """Keep rows without a status."""
        for release in releases:
            self.free_row((release.flow, release.run_id), release.token)


class ForgetsFooters(FaultyConnection):
    """A lost answer is not looked up."""

    def stored(self, saves: Sequence[Save]) -> set[int]:
        """Find nothing."""
        del saves
        return set()


class GivesToAll(FaultyConnection):
    """Everybody gets the lock."""

    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        """Take a row from its owner."""
        found = super().claim(claims, owner_id, now)
        for row in found:
            if row.token != claims[row.number].lease.asked_token:
                self.free_row(claims[row.number].lease.key, row.token)
        return super().claim(claims, owner_id, now)


class CutsSnapshots(FaultyConnection):
    """Snapshots are cut by three bytes."""

    def read_snapshot(self, key: Key, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        """Read all but the last bytes of a payload."""
        found = super().read_snapshot(key, kept)
        return None if found is None else (found[0][:-3], found[1])


class SurelyHeld(Lease):
    """A lease that is held in a forked child as well."""

    __slots__ = ()

    @property
    def held(self) -> bool:
        """Whether it has a token, of whichever process."""
        return self.record.token != 0


class KeepsLocks(LeasedStateHandler):
    """A forked child keeps its parent's lock."""

    def lock(self, run_id: str | None = None) -> Lease:
        """Give such a lease."""
        return SurelyHeld(self._client, self._key(run_id), self.locate(run_id), self.keep)


CONNECTIONS: dict[str, type[FaultyConnection]] = {
    "never frees": NeverFrees,
    "lists owned": ListsOwned,
    "never prunes": NeverPrunes,
    "retains nothing": RetainsNothing,
    "retains amended": RetainsAmended,
    "unfenced": Unfenced,
    "hides owners": HidesOwners,
    "beats once": BeatsOnce,
    "leaves rows": LeavesRows,
    "forgets footers": ForgetsFooters,
    "gives to all": GivesToAll,
    "cuts snapshots": CutsSnapshots,
}
"""Faulty connections by their faults. A store has two more: raw errors, and commits in memory."""
