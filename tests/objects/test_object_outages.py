"""A store of objects that stops, breaks connections or answers nothing, under runs in progress."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from object_proxy import Fault
from outages import NotedRuns, Outage, do_all_during

from aiocheckpoint import CheckpointFlow, open_handler
from aiocheckpoint.errors import RunInProgressError, StoreUnreachableError

if TYPE_CHECKING:
    from object_proxy import ObjectProxy, Seen
    from object_server import ObjectServer
    from support import State

LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("number", "times"), [(100, 1), pytest.param(1000, 10, marks=LONG)])
def test_killed_at_random(
    own_objects: ObjectServer, object_keys: None, number: int, times: int
) -> None:
    """A server that is killed, and starts again, delays all runs and harms none."""
    runs = NotedRuns(own_objects.url(own_objects.create_bucket(), "work"), number)
    do_all_during(runs, Outage(own_objects.kill, own_objects.start), times)


@pytest.mark.parametrize("way", ["refused", "frozen", "suspended"])
def test_broken_network(
    way: str, proxy: ObjectProxy, proxy_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that break, or carry nothing for a while, delay the runs."""
    runs = NotedRuns(proxy_url, 60)
    ways = {
        "refused": Outage(proxy.refuse, proxy.accept),
        "frozen": Outage(proxy.freeze, proxy.thaw),
        "suspended": Outage(proxy.freeze, proxy.thaw, 1.5),
    }
    do_all_during(runs, ways[way], 2)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.BROKEN, Fault.LOST, Fault.CUT])
def test_many_faults(fault: Fault, proxy: ObjectProxy, proxy_url: str) -> None:
    """All runs end where each seventh request fails, and no acknowledged step runs again."""
    numbers = iter(range(1, 1_000_000))

    def each_seventh(seen: Seen) -> bool:
        return next(numbers) % 7 == 0

    proxy.inject(fault, each_seventh, count=1_000_000)
    runs = NotedRuns(proxy_url, 40)
    runs.may_end.set()
    runs.do_all()
    assert sum(seen.fault is fault for seen in proxy.seen) > 20


def test_patience_is_over(proxy: ObjectProxy, proxy_url: str) -> None:
    """Behind `patience` a run fails with an error of ours, and goes on when the store is back."""
    cp = CheckpointFlow(proxy_url, name="f", patience=0.5)
    trail = list[str]()

    @cp.add_step()
    def one(state: State) -> None:
        trail.append("one")
        if len(trail) == 1:
            proxy.refuse()

    cp.add_step(name="two")(lambda state: trail.append("two"))
    with pytest.raises(StoreUnreachableError) as info:
        cp.run({}, run_id="x")
    assert "patience" in str(info.value) or "out of reach" in str(info.value)
    with pytest.raises(StoreUnreachableError):
        cp.runs()
    proxy.accept()
    cp.run(run_id="x")
    assert trail == ["one", "one", "two"]
    (header,) = cp.runs()
    assert (header.status, header.number) == ("finished", 1)
    cp.handler.close()


def test_release_is_sent_when_the_store_is_back(proxy: ObjectProxy, proxy_url: str) -> None:
    """Leases whose release had no patience left are free for others, without being asked for."""
    with (
        closing(open_handler(proxy_url, name="f", patience=0.4, lease=5)) as handler,
        closing(open_handler(proxy_url, name="f", patience=60, lease=5)) as other,
    ):
        locks = [handler.lock(f"run-{number}") for number in range(3)]
        for lock in locks:
            lock.acquire()
        handler.write({"n": 1}, "kept")
        proxy.refuse()
        for lock in locks:
            lock.release()
        with pytest.raises(StoreUnreachableError):
            handler.lock("late").acquire()
        proxy.accept()
        until = time.monotonic() + 60
        taken = 0
        while taken < len(locks):
            assert time.monotonic() < until
            with suppress(RunInProgressError):
                other.lock(f"run-{taken}").acquire()
                taken += 1


def test_words_while_it_waits(
    proxy: ObjectProxy, proxy_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once that the store is out of reach, and that it is back."""
    caplog.set_level(logging.WARNING, "aiocheckpoint")
    runs = NotedRuns(proxy_url, 20)
    do_all_during(runs, Outage(proxy.refuse, proxy.accept, 3.0), 1)
    told = [record for record in caplog.records if "is out of reach" in record.message]
    assert told
    assert all("owner-secret" not in record.getMessage() for record in caplog.records)


def test_one_slow_object_stops_nobody(proxy: ObjectProxy, proxy_url: str) -> None:
    """Other runs end while the store does not answer for one object."""
    cp = CheckpointFlow(proxy_url, name="f")
    ended = list[str]()

    @cp.add_step()
    async def one(state: State) -> None: ...

    proxy.inject(Fault.SLOW, lambda seen: seen.key.endswith("runs/slow"), number=2, seconds=2.0)

    async def run(run_id: str) -> None:
        await cp.arun({"id": run_id}, run_id=run_id)
        ended.append(run_id)

    async def main() -> None:
        await asyncio.gather(run("slow"), *(run(f"quick-{n}") for n in range(20)))

    asyncio.run(main())
    assert ended[-1] == "slow"
    assert len(ended) == 21
