"""Runs in a bucket are deleted many at once, and none that another process has or has changed."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from faulty_objects import names
from object_proxy import Fault
from run_factories import ids

from aiocheckpoint import open_handler
from aiocheckpoint.handlers import Query
from aiocheckpoint.handlers.objects._bucket import Bucket
from aiocheckpoint.handlers.objects._names import Keys, bytes_of
from aiocheckpoint.handlers.objects._owners import Owners
from aiocheckpoint.handlers.objects._pruning import Pruning
from aiocheckpoint.testing._checking import store

if TYPE_CHECKING:
    from collections.abc import Generator

    from object_proxy import ObjectProxy, Seen
    from object_server import ObjectServer

    from aiocheckpoint import StateHandler

RUNS = 3
_TORTURE = pytest.mark.torture
MOST = 16
"""More requests than pruning so few runs makes, list included."""


@contextmanager
def opened(url: str, **options: Any) -> Generator[StateHandler]:  # noqa: ANN401
    """Give a handler of a store."""
    with closing(open_handler(url, name="f", **options)) as made:
        yield made


def fill(handler: StateHandler, count: int) -> list[str]:
    """Store finished runs. Give their ids."""
    runs = [f"run-{number:02}" for number in range(count)]
    for number, run in enumerate(runs):
        store(handler, run, "finished", started_at=600.0 + number)
    return runs


def test_requests(proxy: ObjectProxy, proxy_url: str, objects: ObjectServer, bucket: str) -> None:
    """A hundred runs are deleted by a write and two reads of each, and some requests for all."""
    with opened(proxy_url) as handler:
        fill(handler, 100)
        begin = len(proxy.seen)
        assert handler.prune(Query()) == 100
        spent = {k: n for k, n in proxy.kinds(begin).items() if "owners" not in k}
        assert spent.pop("GET runs") == 200
        assert spent.pop("PUT runs change") == 100
        assert sum(spent.values()) <= 10, spent
    assert names(objects, bucket) == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(one, marks=[] if one in {Fault.LOST, Fault.PRECONDITION} else _TORTURE)
        for one in Fault
        if "timeout" not in one.value
    ],
    ids=lambda fault: fault.value,
)
def test_faults(
    fault: Fault, proxy: ObjectProxy, proxy_url: str, objects: ObjectServer, bucket: str
) -> None:
    """Whatever happens to one request, the runs are deleted, and nothing of them is held."""
    happened = 0

    def may_strike(seen: Seen) -> bool:
        is_of_owner = "/owners" in seen.key  # A process may have beaten meanwhile.
        return not is_of_owner and (fault is not Fault.PRECONDITION or bool(seen.condition))

    with opened(proxy_url, patience=10.0) as handler:
        for number in range(1, MOST):
            runs = fill(handler, RUNS)
            rule = proxy.inject(fault, may_strike, number=number, seconds=0.2)
            assert handler.prune(Query()) == len(runs)
            happened += rule.happened
            proxy.rules = []
            assert handler.runs(Query()) == []
            for run in runs:
                with handler.locked(run):
                    pass
        assert happened >= RUNS
        assert not rule.happened
    assert names(objects, bucket) == []


def test_run_that_is_claimed_meanwhile(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another process claims or changes behind the look at it stays."""
    real = Pruning._is_chosen  # noqa: SLF001 - between the read and the write of a claim
    with opened(bucket_url) as handler, opened(bucket_url, patience=61.0) as other:
        fill(handler, RUNS)
        lock = other.lock("run-01")

        async def is_chosen(self: Pruning, session: Any, key: Any, found: Any) -> bool:  # noqa: ANN401
            chosen = await real(self, session, key, found)
            if bytes_of(key[1]) == b"run-01" and not lock.held:
                await asyncio.to_thread(lock.acquire)
            if bytes_of(key[1]) == b"run-02" and not written:
                written.append(await asyncio.to_thread(store, other, "run-02", "failed"))
            return chosen

        written = list[Any]()
        monkeypatch.setattr(Pruning, "_is_chosen", is_chosen)
        assert handler.prune(Query(statuses=frozenset({"finished"}))) == 1
        assert sorted(map(str, ids(handler.runs(Query())))) == ["run-01", "run-02"]
        lock.release()


def test_owner_that_may_have_been_taken_for_gone(
    objects: ObjectServer, bucket: str, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that has not beaten for long deletes no run that another process has taken."""
    bucket_store, key = objects.store(bucket), "work/flows/f/runs/run-01"
    with opened(bucket_url) as handler:
        fill(handler, RUNS)
        mine = bytes(obstore.get(bucket_store, key).bytes())

        def has_lived_since(self: Owners, begun_at: float) -> bool:
            line, end, rest = mine.partition(b"\n")
            head = {**json.loads(line), "write": "taken", "token": 5, "owner": "f" * 16}
            obstore.put(bucket_store, key, json.dumps(head).encode() + end + rest)
            return False

        monkeypatch.setattr(Owners, "has_lived_since", has_lived_since)
        assert handler.prune(Query()) == RUNS
        monkeypatch.undo()
    assert [name for name in names(objects, bucket) if "/runs/" in name] == ["flows/f/runs/run-01"]


class SetClock:
    """A clock that tests set."""

    now = 1000.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def time(self) -> float:
        """Tell the time of day."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


async def test_beats_without_a_break(objects: ObjectServer, bucket: str) -> None:
    """An owner knows by its own beats whether others can have taken it for gone."""
    clock = SetClock()
    owners = Owners(
        Bucket(objects.store(bucket), "here", 10.0, 4), Keys("work/"), "a" * 16, 30.0, clock
    )
    assert not owners.has_lived_since(clock.now)
    await owners.beat()
    begun_at = clock.now
    for _ in range(5):
        clock.now += 10.0
        await owners.beat()
        assert owners.has_lived_since(begun_at)
    assert not owners.has_lived_since(begun_at - 1.0)
    clock.now += 20.0
    assert not owners.has_lived_since(begun_at), "the beat is late"
    clock.now += 11.0
    await owners.beat()
    assert not owners.has_lived_since(clock.now), "others may have seen the gap"
    clock.now += 10.0
    obstore.delete(objects.store(bucket), f"work/owners/{'a' * 16}")
    for _ in range(4):
        await owners.beat()
        assert not owners.has_lived_since(clock.now - 1.0)
        clock.now += 10.0
    await owners.beat()
    assert owners.has_lived_since(clock.now)
    assert not owners.has_lived_since(begun_at)
