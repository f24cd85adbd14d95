"""Large snapshots in PostgreSQL: how often they are copied, and what is too large."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from postgres_connections import connected, register

from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.leased import Claim, LeaseRecord, Save
from aiocheckpoint.handlers.postgres import PostgresStateHandler, _server_connection
from aiocheckpoint.handlers.postgres._packing import Whole, WholeDumper
from aiocheckpoint.handlers.postgres._store import PostgresStore

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

MEGABYTE = 1 << 20
OWNER = "a" * 16


def test_large_snapshot(database_url: str) -> None:
    """A large snapshot is stored and read whole, alone and among others."""
    handler = PostgresStateHandler(database_url, keep=3)
    data = os.urandom(20 * MEGABYTE)
    for number in range(2):
        handler.write({"n": number, "data": data}, "a")
    assert handler.read("a") == {"n": 1, "data": data}
    assert len(handler.kept("a")) == 1
    handler.write({"n": 2}, "a")
    assert handler.read("a") == {"n": 2}


def test_too_large_snapshot(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot over the limit is refused at once, with the remedy, and the one before stays."""
    handler = PostgresStateHandler(database_url)
    handler.write({"n": 1}, "a")
    monkeypatch.setattr(PostgresStore, "largest_payload", MEGABYTE)
    with pytest.raises(StorageError, match="with a loader and a saver") as info:
        handler.write({"data": bytes(2 * MEGABYTE)}, "a")
    assert "PostgreSQL holds 1048576" in str(info.value)
    assert handler.read("a") == {"n": 1}


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_largest_snapshot(database_url: str) -> None:
    """What is just below the limit is stored and read, and one of 1 GB is refused."""
    handler = PostgresStateHandler(database_url)
    largest = bytes(PostgresStore.largest_payload - 1000)
    handler.write({"data": largest}, "a")
    with pytest.raises(StorageError, match="with a loader and a saver"):
        handler.write({"data": bytes(1 << 30)}, "b")
    assert handler.read("a")["data"] == largest
    assert handler.read("b") == {}


def test_limit_is_below_that_of_the_server(database_url: str) -> None:
    """Payload and the largest footer fit into a message of the server, which has less than 1 GB."""
    del database_url
    assert PostgresStore.largest_payload + (16 << 20) < (1 << 30) - 2


def test_snapshot_is_cut_without_a_copy() -> None:
    """The payload of a snapshot in memory is not copied when the footer is cut off."""
    target = MemoryTarget()
    handler = PostgresStateHandler("postgresql://host.invalid/shop")

    def write_to(target: MemoryTarget) -> Header:
        header = handler.patched(None, "a", 0)
        return handler.codec.write(header, {"data": bytes(8 * MEGABYTE)}, None, target)

    write_to(target)
    tracemalloc.start()
    try:
        payload, footer = target.split()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(payload) > 8 * MEGABYTE
    assert footer.endswith(b"aiockpt\n")
    # Growing in place counts as a new block. A copy would be a second one.
    assert peak < 12 * MEGABYTE


def test_psycopg_does_not_copy() -> None:
    """The bytes of a single snapshot go to libpq as they are."""
    value = bytes(100)
    assert WholeDumper(Whole).dump(Whole(value)) is value


@pytest.mark.parametrize("count", [1, 3])
def test_grown_connection_is_given_up(
    count: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has carried a large snapshot is replaced: libpq never frees its buffer."""
    monkeypatch.setattr(_server_connection, "_LARGE_BYTES", MEGABYTE)
    handler = PostgresStateHandler(database_url)
    header = handler.patched(None, "a", 0)
    with connected(database_url) as connection:
        register(connection, OWNER)
        leases = [
            LeaseRecord((b"f", str(n).encode()), "", 1, asked_token=n + 1) for n in range(count)
        ]
        for run in connection.claim([Claim(one) for one in leases], OWNER, 1.0):
            leases[run.number].row, leases[run.number].token = run.row, run.token
        small = [Save(one, header, b"p", b"f", None) for one in leases]
        assert connection.save_steps(small) == count
        assert not connection.is_lost()
        large = [Save(one, header, bytes(MEGABYTE), b"f", None) for one in leases]
        with connection.transaction():
            assert connection.save_steps(large) == count
            assert not connection.is_lost()  # The transaction ends first.
        assert connection.is_lost()
    with connected(database_url, writes=False) as reading:
        assert not reading.is_lost()
        assert reading.read_snapshot(leases[0].key, None) is None  # Without a status.
        handler.write({"data": bytes(2 * MEGABYTE)}, "b")
        handler.write({"n": 1}, "c")
        assert handler.read("b")["data"] == bytes(2 * MEGABYTE)
        assert reading.read_snapshot((b"%b" % handler.flow.encode(), b"b"), None) is not None
        assert reading.is_lost()
