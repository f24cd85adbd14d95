"""The object of a run: a line of facts, then the footer and the payload of its newest snapshot.

The footer stands before the payload, so that one request for the first bytes reads all but the
state.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["FIRST_BYTES", "RunHead", "RunObject", "encode_run"]

FIRST_BYTES = 1 << 14
"""The bytes that lists read of a run. A longer footer takes one more request."""

_FORMAT = 1


class RunHead(NamedTuple):
    """The facts of a run beside its snapshot.

    Attributes:
        write: Tells this write among those of all processes, so that nobody takes it for another.
        owner: Id of the present owner. None for none.
        token: The token of its lease, 0 for none.
        since: When it was claimed, in seconds since the epoch.
        listed_as: The name of the index object, below the flow. Empty for none.
        start: The record of the last start as text, or None.
        lost: What became of an owner that has recorded no end, or None.
        status: Status of the snapshot, or "running" since a claim. None where there is none.
        stopped_by, number, position, sequence, started_at, due: As a table would have them.
        run_id: The run id in UTF-8 as hexadecimal digits, if its key has a digest of it alone.
    """

    write: str = ""
    owner: str | None = None
    token: int = 0
    since: float = 0.0
    listed_as: str = ""
    start: str | None = None
    lost: str | None = None
    status: str | None = None
    stopped_by: str | None = None
    number: int = 0
    position: int = 0
    sequence: int = 0
    started_at: float = 0.0
    due: float | None = None
    run_id: str = ""

    def with_snapshot(self, header: Header, due: float | None) -> Self:
        """Give the facts behind a new snapshot."""
        return self._replace(
            status=header.status,
            stopped_by=header.stopped_by,
            number=header.number,
            position=header.position,
            sequence=header.sequence,
            started_at=header.started_at,
            due=due,
        )

    def emptied(self, write: str) -> Self:
        """Give the facts of a run of which everything is deleted but its owner."""
        return type(self)(
            write=write, owner=self.owner, token=self.token, since=self.since, run_id=self.run_id
        )


class RunObject(NamedTuple):
    """The object of a run as it was read.

    Attributes:
        head: Its facts.
        footer: The footer of its snapshot, empty for none.
        payload: The payload. None where only the first bytes were read.
        payload_length: Its length.
    """

    head: RunHead
    footer: bytes
    payload: bytes | None
    payload_length: int

    @classmethod
    def decode(cls, content: bytes, size: int) -> Self | int:
        """Read an object, of which the first bytes may have been read.

        Args:
            content: The bytes read.
            size: The size of the whole object.

        Returns:
            The object. The number of bytes needed where these are too few.

        Raises:
            ValueError, TypeError, KeyError: It is another program's.
        """
        line, end, rest = content.partition(b"\n")
        if not end:
            if size > len(content):
                return min(size, 4 * len(content))
            raise ValueError("it has no first line")
        facts: dict[str, Any] = json.loads(line)
        if facts.pop("format") != _FORMAT:
            raise ValueError("its format is of a later version")
        footer_length = facts.pop("footer")
        payload_length = size - len(line) - 1 - footer_length
        if len(rest) < footer_length:
            return len(line) + 1 + int(footer_length)
        whole = len(content) == size
        payload = rest[footer_length:] if whole else None
        # A later version may add facts.
        known = {name: facts[name] for name in RunHead._fields if name in facts}
        return cls(RunHead(**known), rest[:footer_length], payload, payload_length)


def encode_run(head: RunHead, footer: bytes, payload: bytes) -> bytes:
    """Give the bytes of the object of a run."""
    facts = {"format": _FORMAT, "footer": len(footer), **head._asdict()}
    return b"%b\n%b%b" % (json.dumps(facts, separators=(",", ":")).encode(), footer, payload)
