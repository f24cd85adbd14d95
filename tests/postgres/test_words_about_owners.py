"""The error of a run that another owner has says what is true of its store."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, RunInProgressError

if TYPE_CHECKING:
    from pgbouncer import PgBouncer

LEASE = 20.0


def flow(url: str, name: str) -> CheckpointFlow:
    """Make a flow with an owner of its own."""
    mark = "&" if "?" in url else "?"
    made = CheckpointFlow(f"{url}{mark}application_name={name}", name="orders", lease=LEASE)
    made.add_step(name="only")(lambda state: None)
    return made


def refused(owner_url: str, other_url: str) -> RunInProgressError:
    """Let one owner have a run, and give the error of the other one."""
    owner, other = flow(owner_url, "owner"), flow(other_url, "other")
    with closing(owner.handler), closing(other.handler):
        owner.handler.lock("a").acquire()
        with pytest.raises(RunInProgressError) as info:
            other.run({}, run_id="a")
    return info.value


def test_of_a_direct_connection(store_url: str) -> None:
    """The end of an owner is seen at once. Otherwise it loses the run when its lease is over."""
    error = refused(store_url, store_url)
    assert (error.pid, error.host) == (os.getpid(), socket.gethostname())
    assert error.end_is_seen
    assert error.lease_left is not None
    assert 0 < error.lease_left <= LEASE


def test_behind_a_pooler(pooler: PgBouncer, store_url: str) -> None:
    """Nobody sees the end of an owner behind a pooler, and the text promises nothing of it."""
    error = refused(pooler.url(schema=store_url.rpartition("schema=")[2]), store_url)
    assert not error.end_is_seen
    assert re.search(r"no sign of life of that one for \d+\.\d s more", str(error))
    assert "killed" not in str(error)


def test_of_this_very_process(store_url: str) -> None:
    """An owner that is this process is called so."""
    owner = flow(store_url, "owner")
    with closing(owner.handler), owner.handler.locked("a"):
        with pytest.raises(RunInProgressError, match="this very process") as info:
            owner.run({}, run_id="a")
        assert info.value.lease_left is None
        assert not info.value.end_is_seen
