"""The names of objects: flows and runs as parts of keys, and the names of index objects.

The name of an index object says what a list needs to choose runs: when the run began, its status
and when it is due. Names are listed by their bytes, so the time is inverted: the newest is first.
"""

from __future__ import annotations

import re
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key

__all__ = [
    "FORMAT",
    "NOBODY",
    "NO_RUN",
    "IndexName",
    "Keys",
    "bytes_of",
    "hashed_id",
    "key_part",
    "stored_id",
]

FORMAT = "format"
_LONGEST = 200
_DIGEST_BYTES = 24
NO_RUN = "@"
"""In the place of a run id that is None, and before the digest of a long one."""
NOBODY = "0" * 16
"""In the place of an owner."""
_MOST = (1 << 64) - 1
_STATUSES = {
    "queued": "q",
    "running": "r",
    "stopped": "s",
    "paused": "p",
    "failed": "f",
    "cancelled": "c",
    "terminated": "t",
    "finished": "d",
}
_LETTERS = {letter: status for status, letter in _STATUSES.items()}
_INDEX = re.compile(r"([0-9a-f]{16})_([a-z])_([0-9a-f]{16}|-)_([0-9a-f]{16})([0-9a-f]+)_(.+)")


def key_part(stored: bytes) -> str:
    """Give the part of a key for a flow or run, as `StorePlace.text` has it. Long ones are hashed.

    No two are one, and none is a path: "." and "/" at the begin are escaped.
    """
    if not stored:
        return NO_RUN
    quoted = quote_from_bytes(stored, safe="")
    if quoted[0] == ".":
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= _LONGEST:
        return quoted
    return f"{NO_RUN}{blake2b(stored, digest_size=_DIGEST_BYTES).hexdigest()}"


def hashed_id(stored: bytes) -> str:
    """Give a run id as hexadecimal digits, if its part of a key is a digest. Else nothing."""
    return stored.hex() if stored and key_part(stored)[0] == NO_RUN else ""


def stored_id(part: str, hashed: str) -> bytes:
    """Give the run id of a part of a key, and of the digits that `hashed_id` has given."""
    if part[0] == NO_RUN:
        return bytes.fromhex(hashed)
    return unquote_to_bytes(part)


class IndexName(NamedTuple):
    """What the name of an index object says of a run when its status was stored.

    Attributes:
        started_at: When the run began, in seconds since the epoch.
        status: Its status.
        due: As `Save.due` has it.
        owner: Id of the owner that has given the name. `NOBODY` for a running run that is free.
        number: Tells this name among all of the run. That of a later name of one owner is higher.
        run: The run as a part of keys.
    """

    started_at: float
    status: str
    due: float | None
    owner: str
    number: int
    run: str

    def is_before(self, present: IndexName) -> bool:
        """Whether this name was given before the present one of the same run, for certain."""
        is_of_same = self.owner == present.owner != NOBODY
        return self.started_at < present.started_at or (is_of_same and self.number < present.number)

    def encode(self) -> str:
        """The name, below the flow."""
        kind = "done" if self.status == "finished" else "open"
        began = _MOST - _bits(self.started_at)
        due = "-" if self.due is None else f"{_bits(self.due):016x}"
        letter = _STATUSES.get(self.status, "u")
        return f"{kind}/{began:016x}_{letter}_{due}_{self.owner}{self.number:x}_{self.run}"

    @classmethod
    def decode(cls, name: str) -> Self | None:
        """Read a name without its kind. None for any other object."""
        found = _INDEX.fullmatch(name)
        if found is None:
            return None
        began, letter, due, owner, number, run = found.groups()
        return cls(
            _number(_MOST - int(began, 16)),
            _LETTERS.get(letter, ""),
            None if due == "-" else _number(int(due, 16)),
            owner,
            int(number, 16),
            run,
        )

    @staticmethod
    def begin_of(started_at: float) -> str:
        """The begin of the names of runs that began at a time."""
        return f"{_MOST - _bits(started_at):016x}"


def _bits(seconds: float) -> int:
    """A number whose order is that of times from 0 on."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", max(0.0, seconds)))
    return int(bits)


def _number(bits: int) -> float:
    (seconds,) = struct.unpack(">d", struct.pack(">Q", bits))
    return float(seconds)


class Keys:
    """The keys of objects below a prefix.

    Args:
        prefix: The prefix, empty or ending in "/".
    """

    def __init__(self, prefix: str) -> None:
        self.format: str = f"{prefix}{FORMAT}"
        self.owners: str = f"{prefix}owners"
        self.flows: str = f"{prefix}flows"
        self._prefix = prefix

    def probe(self, name: str) -> str:
        """An object of the proof that the server honours conditions."""
        return f"{self._prefix}probe-{name}"

    def owner(self, owner_id: str, mark: str = "") -> str:
        """An owner, or a mark beside it."""
        return f"{self.owners}/{owner_id}{mark and '.'}{mark}"

    def flow(self, flow: str | bytes) -> str:
        """All objects of a flow."""
        return f"{self.flows}/{key_part(bytes_of(flow))}"

    def run(self, key: Key) -> str:
        """The object of a run."""
        return self.run_of(self.flow(key[0]), key_part(bytes_of(key[1])))

    def run_of(self, flow: str, run: str) -> str:
        """The object of a run, by the parts of its key."""
        return f"{flow}/runs/{run}"

    def index(self, key: Key, name: str) -> str:
        """An index object of a run."""
        return f"{self.flow(key[0])}/{name}"

    def all_kept(self, flow: str | bytes) -> str:
        """All kept snapshots of a flow."""
        return f"{self.flow(flow)}/kept"

    def kept(self, key: Key) -> str:
        """All kept snapshots of a run."""
        return f"{self.all_kept(key[0])}/{key_part(bytes_of(key[1]))}"

    def progress(self, key: Key) -> str:
        """The record of the progress of a run."""
        return f"{self.flow(key[0])}/progress/{key_part(bytes_of(key[1]))}"

    def endings(self, flow: str | bytes) -> str:
        """All requests to terminate runs of a flow."""
        return f"{self.flow(flow)}/endings"

    def ending(self, key: Key) -> str:
        """The request to terminate a run."""
        return f"{self.endings(key[0])}/{key_part(bytes_of(key[1]))}"


def bytes_of(stored: str | bytes) -> bytes:
    """Give a flow or run, as a `Key` has it, as bytes."""
    return stored if isinstance(stored, bytes) else stored.encode("utf-8", "surrogatepass")
