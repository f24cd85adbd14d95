"""The owner in a lock file of `lock="lease"`: who it is, how long its lease is, its last beat."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

from aiocheckpoint.handlers._files.processes import has_ended, machine, started_at

__all__ = ["NO_TOKEN", "TOKEN_BYTES", "LeaseOwner", "parse_owner", "this_process"]

TOKEN_BYTES = 8
NO_TOKEN = "0" * (2 * TOKEN_BYTES)
"""Stands for the token of an owner that cannot be read."""

_TOKEN = re.compile(f"[0-9a-f]{{{2 * TOKEN_BYTES}}}")


@dataclass(frozen=True)
class LeaseOwner:
    """The owner of a run, as its lock file names it.

    Attributes:
        lease: Seconds without a beat after which others take the run.
        token: Names this ownership. No two have the same.
        beat: Number of the last beat.
        host, boot, namespace, pid, started: The process.
        since: When it took the run, as text.
    """

    lease: float
    token: str
    beat: int
    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    since: str

    def next(self) -> LeaseOwner:
        """The owner after one more beat."""
        return replace(self, beat=self.beat + 1)

    def encoded(self) -> bytes:
        """The content of the lock file. Every beat of one owner has the same length."""
        fields = asdict(self)
        fields["beat"] = f"{self.beat:020d}"
        return json.dumps(fields).encode() + b"\n"

    def is_gone(self) -> bool:
        """Whether the process has provably ended. Only one of this machine and container can."""
        return self._is_here() and has_ended(self.pid, self.started)

    def is_seen(self) -> bool:
        """Whether the process is seen to live, on this machine and in this container."""
        return self._is_here() and bool(self.started) and started_at(self.pid) == self.started

    def _is_here(self) -> bool:
        here = machine()
        return bool(here.boot) and here == (self.boot, self.namespace)


def this_process(lease: float, token: str) -> LeaseOwner:
    """This process as an owner, before its first beat."""
    boot, namespace = machine()
    return LeaseOwner(
        lease=lease,
        token=token,
        beat=0,
        host=socket.gethostname(),
        boot=boot,
        namespace=namespace,
        pid=os.getpid(),
        started=started_at(os.getpid()),
        since=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    )


def parse_owner(content: bytes) -> LeaseOwner | None:
    """The owner that a lock file names. None for one that is empty, or of another kind of lock."""
    with suppress(ValueError, TypeError, KeyError, OverflowError):
        fields: dict[str, Any] = json.loads(content)
        fields["beat"] = int(fields["beat"])
        owner = LeaseOwner(**fields)
        if tuple(map(type, astuple(owner))) == _KINDS and _is_sound(owner):
            return owner
    return None


def _is_sound(owner: LeaseOwner) -> bool:
    """Whether the token may be part of a path, and the lease ends."""
    return _TOKEN.fullmatch(owner.token) is not None and 0 < owner.lease < math.inf


_KINDS = (float, str, int, str, str, str, int, str, str)
