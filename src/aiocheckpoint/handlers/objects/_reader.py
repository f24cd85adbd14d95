"""The statements of a bucket that read, as coroutines: what functions of a client's `read` call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers.objects._beside import Ending, read_ending
from aiocheckpoint.handlers.objects._listing import RunLister, count_statuses
from aiocheckpoint.handlers.objects._names import stored_id
from aiocheckpoint.handlers.objects._owners_view import OwnersView, owned_row
from aiocheckpoint.handlers.objects._reading import kept_of, read_run

if TYPE_CHECKING:
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.leased._rows import OwnedRow, RunRow
    from aiocheckpoint.handlers.objects._bucket import Bucket
    from aiocheckpoint.handlers.objects._names import Keys
    from aiocheckpoint.handlers.objects._run_object import RunObject

__all__ = ["ObjectReader"]


class ObjectReader:
    """Reads runs as `ReadingStatements` does. Its methods have the names of those.

    Args:
        bucket: The bucket.
        keys: Its keys.
    """

    def __init__(self, bucket: Bucket, keys: Keys) -> None:
        self._bucket, self._keys = bucket, keys
        self._owners = OwnersView(bucket, keys)

    async def read_snapshot(
        self, key: Key, kept: tuple[int, int] | None
    ) -> tuple[bytes, bytes] | None:
        """Read payload and footer of the newest snapshot of a run, or of a kept one."""
        name = self._keys.run(key)
        if kept is not None:
            name = f"{self._keys.kept(key)}/{kept[0]:012}-{kept[1]:012}"
        found = await self._run(name, whole=True)
        return None if found is None else (found.payload or b"", found.footer)

    async def read_footer(self, key: Key) -> tuple[bytes, int] | None:
        """Read the footer of the newest snapshot of a run, and the length of its payload."""
        found = await self._run(self._keys.run(key))
        return None if found is None else (found.footer, found.payload_length)

    async def read_kept(self, key: Key) -> list[tuple[int, int]]:
        """List number and sequence of each kept snapshot of a run, newest first."""
        return await kept_of(self._bucket, self._keys, key)

    async def read_progress(self, key: Key) -> bytes | None:
        """Read the record of the progress of a run."""
        found = await self._bucket.get(self._keys.progress(key))
        return None if found is None else found.content

    async def read_ending(self, key: Key) -> str | None:
        """Read the request to terminate a run."""
        found = await self._run(self._keys.run(key))
        if found is None:
            return None
        return await read_ending(self._bucket, self._keys, key, found.head.number)

    async def read_endings(self, flow: str | bytes) -> dict[str | bytes, str]:
        """Read the requests to terminate runs of a flow. Those of ended runs are deleted."""
        folder = self._keys.endings(flow)
        listed = await self._bucket.listed(folder)
        runs = await asyncio.gather(*(self._ending(flow, one.name) for one in listed))
        return {run_id: request for run_id, request in runs if request is not None}

    async def _ending(self, flow: str | bytes, part: str) -> tuple[bytes, str | None]:
        name = f"{self._keys.endings(flow)}/{part}"
        run, read = await asyncio.gather(
            self._run(self._keys.run_of(self._keys.flow(flow), part)), self._bucket.get(name)
        )
        ending = None if read is None else Ending.decode(read.content)
        if ending is None:
            return b"", None
        is_open = run is not None and run.head.number == ending.number
        return bytes.fromhex(ending.run_id), ending.request if is_open else None

    async def read_ownership(self, key: Key) -> OwnedRow | None:
        """Read what is known of a run beside its snapshot."""
        found = await self._run(self._keys.run(key))
        if found is None:
            return None
        owners = {} if found.head.owner is None else await self._owners.all()
        return owned_row(found.head, owners)

    async def list_runs(
        self, flow: str | bytes, query: Query, after: RunRow | None
    ) -> list[RunRow]:
        """List runs of a flow, in the order of the query."""
        lister = RunLister(self._bucket, self._keys, self._owners, flow, query, after)
        return await lister.rows()

    def decides(self, where: RunFilter) -> bool:
        """Whether lists have few other runs than this filter chooses. Names tell the status."""
        return where._replace(statuses=None) == ALL

    async def tally(
        self, flow: str | bytes, facts: tuple[CountBy, ...], where: RunFilter
    ) -> Counts | None:
        """Count runs by status, by the names of index objects. None where headers are counted."""
        if facts != ("status",) or not self.decides(where):
            return None
        counts = await count_statuses(self._bucket, self._keys, flow)
        found = sorted((status, number) for status, number in counts.items())
        wanted = where.statuses
        return {(one,): number for one, number in found if wanted is None or one in wanted}

    async def read_flows(self) -> list[bytes]:
        """List the flows that have objects. Those with very long names are left out."""
        folders = await self._bucket.folders(self._keys.flows)
        return [stored_id(one, "") for one in folders if one[0] != "@"]

    async def is_used(self) -> bool:
        """Whether the prefix was ever written."""
        return await self._bucket.get(self._keys.format) is not None

    async def _run(self, name: str, *, whole: bool = False) -> RunObject | None:
        """Read a run that has a snapshot."""
        read = await read_run(self._bucket, name, name, whole=whole)
        return None if read is None or read[0].head.status is None else read[0]
