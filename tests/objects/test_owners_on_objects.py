"""Owners that are killed, stopped, cut off, or only believed to be gone, and their successors."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

import obstore
import pytest
from object_proxy import object_proxy
from shared_owners import KEPT, TAKEN, Asker, acknowledged, make_taker, shared_owner

from aiocheckpoint import RunInProgressError, open_handler
from aiocheckpoint.handlers.objects import _owners_view
from aiocheckpoint.handlers.objects._owners import Owners

if TYPE_CHECKING:
    from pathlib import Path

    from object_server import ObjectServer

    from aiocheckpoint.handlers.objects._owners_view import KnownOwner

LEASE = 1.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file in which the owner's steps are noted."""
    return tmp_path / "log"


def check_taken(asker: Asker, log: Path, run: str = "x") -> None:
    """Check that a run was taken behind its first step, and that its owner stored nothing since."""
    assert asker.flow.read(run)["trail"] == TAKEN
    assert acknowledged(log, run) == ["a"]


def test_killed_owner(bucket_url: str, log: Path) -> None:
    """The runs of a killed process are taken when its lease has run out, and not before."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with shared_owner(bucket_url, log, "x", "y", lease=LEASE) as owner:
        asker.ask_for(LEASE)
        owner.kill()
        # It may have beaten a third of the lease ago.
        assert asker.ask_until_found("x") > LEASE / 2
        asker.ask_until_found("y")
    check_taken(asker, log)
    check_taken(asker, log, "y")
    (header,) = (one for one in asker.flow.runs() if one.run_id == "x")
    assert header.status == "finished"


def test_stopped_owner(bucket_url: str, log: Path) -> None:
    """A process that a signal stops for longer than its lease stores nothing when it wakes."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with shared_owner(bucket_url, log, "x", lease=LEASE) as owner:
        asker.ask()
        owner.suspend()
        asker.ask_until_found("x")
        owner.wake()
        assert owner.end() == "LeaseLostError"
    check_taken(asker, log)


def test_stopped_owner_of_an_unfinished_successor(bucket_url: str, log: Path) -> None:
    """The sleeper writes nothing over a successor that is still in its own step."""
    with shared_owner(bucket_url, log, "x", lease=LEASE) as first:
        first.suspend()
        with shared_owner(bucket_url, log, "y", lease=LEASE):
            taker = make_taker(bucket_url, lease=LEASE)
            taken = taker.run(run_id="x", wait=60.0, until="b")
            first.wake()
            assert first.end() == "LeaseLostError"
            assert taker.read("x")["trail"] == taken["trail"] == TAKEN[:2]


def test_living_owner(bucket_url: str, log: Path) -> None:
    """A process whose run takes longer than its lease keeps the run."""
    lease = 2.0
    asker = Asker(make_taker(bucket_url, lease=lease))
    with shared_owner(bucket_url, log, "x", lease=lease) as owner:
        assert asker.ask_for(1.3 * lease) == []
        with pytest.raises(RunInProgressError, match="process"):
            asker.flow.run(run_id="x")
        assert owner.end() == "done"
    assert asker.flow.read("x")["trail"] == KEPT


def test_server_down_for_longer_than_a_lease(
    own_objects: ObjectServer, object_keys: None, log: Path
) -> None:
    """After the outage a living owner keeps its run, and a dead one is succeeded."""
    url, lease = own_objects.url(own_objects.create_bucket()), 2.0
    asker = Asker(make_taker(url, lease=lease))
    with (
        shared_owner(url, log, "x", lease=lease) as living,
        shared_owner(url, log, "y", lease=lease) as dead,
    ):
        asker.ask()
        own_objects.kill()
        dead.kill()
        time.sleep(1.5 * lease)
        own_objects.start()
        asker.ask_until_found("y")
        asker.ask_for(lease)
        assert asker.found == ["y"]
        assert living.end() == "done"
    check_taken(asker, log, "y")
    assert asker.flow.read("x")["trail"] == KEPT


@pytest.mark.parametrize("answers", [True, False], ids=["frozen", "refused"])
def test_owner_cut_off(
    objects: ObjectServer, bucket: str, bucket_url: str, log: Path, *, answers: bool
) -> None:
    """An owner that alone is cut off for longer than its lease loses its run, and learns it."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with object_proxy(objects) as proxy:
        here = objects.url(bucket, "work", endpoint=proxy.endpoint)
        with shared_owner(here, log, "x", lease=LEASE) as owner:
            asker.ask()
            (proxy.freeze if answers else proxy.refuse)()
            asker.ask_until_found("x")
            (proxy.thaw if answers else proxy.accept)()
            assert owner.end() == "LeaseLostError"
    check_taken(asker, log)


def test_asker_cut_off(objects: ObjectServer, bucket: str, bucket_url: str, log: Path) -> None:
    """An asker that is cut off for longer than a lease takes nobody for dead."""
    with object_proxy(objects) as proxy:
        here = objects.url(bucket, "work", endpoint=proxy.endpoint)
        asker = Asker(make_taker(here, lease=LEASE))
        with shared_owner(bucket_url, log, "x", lease=LEASE) as owner:
            asker.ask()
            for _ in range(2):
                proxy.refuse()
                time.sleep(1.5 * LEASE)
                proxy.accept()
                assert asker.ask_for(LEASE / 4) == []
            assert owner.end() == "done"
        assert asker.flow.read("x")["trail"] == KEPT


def delete_owners(objects: ObjectServer, bucket: str) -> list[str]:
    """Delete the objects of all owners by hand. Give their names."""
    store = objects.store(bucket)
    names = {item["path"] for page in obstore.list(store, "work/owners") for item in page}
    assert names
    obstore.delete(store, sorted(names))
    return sorted(names)


def test_owner_without_its_object(
    objects: ObjectServer, bucket: str, bucket_url: str, log: Path
) -> None:
    """An owner whose object is deleted by hand, again and again, lives and keeps its runs."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with shared_owner(bucket_url, log, "x", lease=LEASE) as owner:
        asker.ask()
        for _ in range(3):
            delete_owners(objects, bucket)
            with pytest.raises(RunInProgressError) as refused:
                asker.flow.run(run_id="x")
            assert refused.value.lease_left
            assert asker.ask_for(LEASE / 2) == []
        assert asker.ask_for(1.5 * LEASE) == []
        with pytest.raises(RunInProgressError, match="process"):
            asker.flow.run(run_id="x")
        assert owner.end() == "done"
    assert asker.flow.read("x")["trail"] == KEPT


@pytest.mark.parametrize("drains", [False, True])
def test_killed_owner_without_its_object(
    objects: ObjectServer, bucket: str, bucket_url: str, log: Path, *, drains: bool
) -> None:
    """The runs of a killed owner whose object is deleted by hand are taken a lease later."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with shared_owner(bucket_url, log, "x", "y", lease=LEASE) as owner:
        asker.ask()
        owner.kill()
        for name in delete_owners(objects, bucket):
            if drains:  # A mark without an owner says nothing of its life.
                obstore.put(objects.store(bucket), f"{name}.draining", b"")
        assert LEASE < asker.ask_until_found("x") < 5 * LEASE
        asker.ask_until_found("y")
    check_taken(asker, log)
    check_taken(asker, log, "y")


def test_owner_that_closes_while_it_is_asked_for(
    bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is released between two looks of an asker is free at once."""
    real, closed = Owners.find, list[bool]()
    with closing(open_handler(bucket_url, name="f", patience=61.0)) as first:
        lock = first.lock("x")
        lock.acquire()

        async def find(self: Owners, owner_id: str) -> KnownOwner:
            if not closed:
                closed.append(True)
                await asyncio.to_thread(first.close)
            return await real(self, owner_id)

        monkeypatch.setattr(Owners, "find", find)
        with closing(open_handler(bucket_url, name="f")) as second, second.locked("x") as taken:
            assert closed
            assert taken.held


def test_old_marks(
    objects: ObjectServer, bucket: str, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark of an owner that was found gone stays for long, and not for ever."""
    store, mark = objects.store(bucket), "work/owners/0123456789abcdef.killed"
    obstore.put(store, mark, b"")
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    asker.ask()
    assert obstore.head(store, mark)
    monkeypatch.setattr(_owners_view, "_SECONDS_OF_MARKS", -1.0)
    time.sleep(LEASE / 4)  # A look counts for a twentieth of the lease.
    asker.ask()
    with pytest.raises(FileNotFoundError):
        obstore.head(store, mark)


@pytest.mark.parametrize("clock", [86_400.0, -86_400.0])
def test_wall_clock_a_day_off(bucket_url: str, log: Path, clock: float) -> None:
    """A process whose clock is a day off keeps its runs while it lives, and no longer."""
    asker = Asker(make_taker(bucket_url, lease=LEASE))
    with shared_owner(bucket_url, log, "x", lease=2 * LEASE, clock=clock) as owner:
        assert asker.ask_for(LEASE) == []
        owner.kill()
        asker.ask_until_found("x")
    check_taken(asker, log)
