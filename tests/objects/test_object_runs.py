"""Runs in an object store: stores in memory, which are quick, and the real server."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import closing
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from aiocheckpoint import CheckpointFlow, Pause, open_handler
from aiocheckpoint.errors import (
    InvalidValueError,
    LeaseLostError,
    RunInProgressError,
    StorageError,
    StoreUnreachableError,
    UnpicklableFlowError,
)
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.objects import ObjectStateHandler, _bucket
from aiocheckpoint.handlers.objects._library import library
from aiocheckpoint.testing import check_handler

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aiocheckpoint.handlers import StateHandler

FLOW = "orders"


@pytest.fixture
def memory() -> Generator[ObjectStateHandler]:
    """Give a handler of a store in memory."""
    handler = ObjectStateHandler(MemoryStore(), prefix="work", flow=FLOW, lease=1)
    yield handler
    handler.close()


def counting(handler: StateHandler) -> CheckpointFlow[dict[str, Any]]:
    """Make a flow of three steps, the last of which may fail."""
    cp = CheckpointFlow("unused", handler=handler, name=FLOW)
    broken: list[int] = []

    @cp.add_step()
    async def one(state: dict[str, Any]) -> None:
        state["n"] += 1

    @cp.add_step()
    def two(state: dict[str, Any]) -> None:
        state["n"] += 1

    @cp.add_step()
    def three(state: dict[str, Any]) -> None:
        if state.get("fails") and not broken:
            broken.append(state["n"])
            raise RuntimeError("broken")
        if state.get("pauses"):
            raise Pause("wait")
        state["n"] += 1

    return cp


def store_of(handler: ObjectStateHandler) -> MemoryStore:
    """Give the store of a handler."""
    store = handler._store.bucket  # noqa: SLF001 - to look behind it
    assert isinstance(store, MemoryStore)
    return store


def names_in(store: MemoryStore, folder: str) -> list[str]:
    """List the objects of a folder."""
    return [one["path"] for page in obstore.list(store, folder) for one in page]


def test_runs_end_and_are_listed(memory: ObjectStateHandler) -> None:
    """Runs by both doors end, and lists and counts have them."""
    cp = counting(memory)
    assert cp.run({"n": 0}, run_id="a")["n"] == 3
    assert asyncio.run(cp.arun({"n": 1}, run_id="b"))["n"] == 4
    with pytest.raises(RuntimeError, match="broken"):
        cp.run({"n": 0, "fails": True}, run_id="c")
    assert [(one.run_id, one.status) for one in cp.runs()] == [
        ("c", "failed"),
        ("b", "finished"),
        ("a", "finished"),
    ]
    counts = cp.count(by="status")
    assert (counts["failed"], counts["finished"]) == (1, 2)
    assert cp.resume("c")["n"] == 3
    assert cp.count(by="status")["finished"] == 3


def test_a_run_of_another_handler_is_in_progress(memory: ObjectStateHandler) -> None:
    """A run that is held is refused, and free behind its release."""
    with memory.locked("a"), pytest.raises(RunInProgressError):
        memory.lock("a").acquire()
    with memory.locked("a") as lock:
        assert lock.held


def test_the_object_decides_who_owns_a_run(memory: ObjectStateHandler) -> None:
    """An owner whose run was changed by another one stores nothing more."""
    cp = counting(memory)
    cp.run({"n": 0}, run_id="a")
    store = store_of(memory)
    with memory.locked("a") as lock:
        content = bytes(obstore.get(store, "work/flows/orders/runs/a").bytes())
        obstore.put(store, "work/flows/orders/runs/a", content.replace(b'"owner"', b'"Owner"', 1))
        with pytest.raises(LeaseLostError):
            memory.replace("a", lambda target: _written(memory, target), lock=lock)


@pytest.mark.parametrize("stored", [False, True])
def test_release_of_an_owner_that_was_robbed(memory: ObjectStateHandler, *, stored: bool) -> None:
    """It leaves the run to the owner that has it now, whatever is stored of it."""
    store = store_of(memory)
    with closing(
        ObjectStateHandler(store, prefix="work", flow=FLOW, lease=1, patience=61)
    ) as other:
        if stored:
            memory.write({"n": 1}, "a")
        lost = memory.lock("a")
        lost.acquire()
        obstore.delete(store, "work/flows/orders/runs/a")
        if stored:
            other.write({"n": 2}, "a")
        with other.locked("a"):
            lost.release()
            with pytest.raises(RunInProgressError):
                memory.lock("a").acquire()


def test_delete_of_an_owner_that_was_robbed(memory: ObjectStateHandler) -> None:
    """It deletes nothing where another owner has taken the place of the run, and stored nothing."""
    store = store_of(memory)
    with closing(
        ObjectStateHandler(store, prefix="work", flow=FLOW, lease=1, patience=61)
    ) as other:
        memory.write({"n": 1}, "a")
        lost = memory.lock("a")
        lost.acquire()
        obstore.delete(store, "work/flows/orders/runs/a")
        with other.locked("a"), pytest.raises(LeaseLostError):
            memory.remove("a", lock=lost)


def _written(handler: StateHandler, target: Any) -> Any:  # noqa: ANN401
    header = handler.patched(handler.header("a"), "a", 0)
    return handler.codec.write(header, {"n": 9}, None, target)


def test_nothing_is_left_of_a_deleted_run(memory: ObjectStateHandler) -> None:
    """Deleting runs deletes all their objects."""
    cp = counting(memory)
    cp.run({"n": 0}, run_id="a")
    cp.reset(run_id="a")
    store = store_of(memory)
    memory.close()  # Names in the index are deleted later.
    assert names_in(store, "work/flows") == []
    assert names_in(store, "work/owners") == []


def test_the_index_is_put_again(memory: ObjectStateHandler) -> None:
    """A list puts a name that a killed process has not put, and passes over one that is left."""
    cp = counting(memory)
    with pytest.raises(RuntimeError, match="broken"):
        cp.run({"n": 0, "fails": True}, run_id="a")
    store = store_of(memory)
    memory.close()
    (name,) = names_in(store, "work/flows/orders/open")
    stale = name.replace("_f_", "_r_")
    obstore.put(store, stale, b"")
    obstore.delete(store, name)
    assert [one.status for one in cp.runs()] == ["failed"]
    assert name in names_in(store, "work/flows/orders/open")
    assert [one.status for one in cp.runs()] == ["failed"]
    assert cp.count(by="status")["failed"] == 1


def test_queued_runs_are_worked_off(memory: ObjectStateHandler) -> None:
    """Runs are queued together, taken by a worker, and end."""
    cp = counting(memory)

    async def work() -> set[str | None]:
        await cp.asubmit([("q1", {"n": 0}), ("q2", {"n": 5})])
        return {one.run_id async for one in cp.awork(until_empty=True)}

    assert asyncio.run(work()) == {"q1", "q2"}
    assert cp.read("q2")["n"] == 8


def test_a_pause_is_answered(memory: ObjectStateHandler) -> None:
    """A paused run goes on with an answer."""
    cp = counting(memory)
    cp.run({"n": 0, "pauses": True}, run_id="p")
    assert [one.status for one in cp.runs()] == ["paused"]
    assert cp.resume("p", update={"n": 10, "pauses": False})["n"] == 11


def test_long_and_odd_ids_are_listed(memory: ObjectStateHandler) -> None:
    """Ids that no key can have are hashed, and are found in lists all the same."""
    cp = counting(memory)
    ids = ["x" * 500, "\ud800", "a/b", "nul\0", "..", "%41"]
    for one in ids:
        cp.run({"n": 0}, run_id=one)
    assert {one.run_id for one in cp.runs(limit=None)} == set(ids)


def test_pages_of_a_list_follow_each_other(memory: ObjectStateHandler) -> None:
    """Pages have each run once, in order."""
    cp = counting(memory)
    for number in range(13):
        cp.run({"n": 0}, run_id=f"run-{number}")
    found: list[str | None] = []
    query = Query(limit=3)
    while page := memory.runs(query):
        found += [one.run_id for one in page]
        query = query._replace(after=page[-1])
    assert found == [f"run-{number}" for number in reversed(range(13))]


def test_displays_find_the_runs_of_all_flows(memory: ObjectStateHandler) -> None:
    """A handler without a flow finds each run in its flow, and its progress."""
    cp = counting(memory)
    cp.run({"n": 0}, run_id="a")
    other = ObjectStateHandler(store_of(memory), prefix="work", flow="others", lease=1)
    counting_of = CheckpointFlow("unused", handler=other, name="others")
    counting_of.add_step(name="only")(lambda state: state.update(n=1))
    counting_of.run({}, run_id="b")
    every = ObjectStateHandler(store_of(memory), prefix="work", flow="", lease=1)
    with every.reader() as reader:
        assert reader.exists()
        assert reader.flow_names() == ("orders", "others")
        found = sorted((run.flow, run.run_id, run.status) for run in reader.found(""))
        assert found == [("orders", "a", "finished"), ("others", "b", "finished")]
        (run,) = reader.find("", "b")
        assert reader.open(run) is not None
        assert reader.kept(run) == []
        assert reader.progress(run) is None


def test_a_step_is_one_request(memory: ObjectStateHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of three steps puts its object four times, and two names in the index."""
    cp = counting(memory)
    cp.run({"n": 0}, run_id="before")
    real, puts = library(), list[str]()

    class Counting:
        """Notes what is put."""

        def put_async(self, store: object, path: str, file: bytes, **options: Any) -> Any:  # noqa: ANN401
            puts.append(path.split("/")[3])
            return real.put_async(store, path, file, **options)

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            assert name != "get_async", "a fresh run reads nothing"
            return getattr(real, name)

    monkeypatch.setattr(_bucket, "library", Counting)
    cp.run({"n": 0}, run_id="a")
    assert sorted(puts) == ["done", "open", "runs", "runs", "runs", "runs"]


def test_a_store_in_memory_is_not_pickled(memory: ObjectStateHandler) -> None:
    """Its runs are of this process alone."""
    with pytest.raises(UnpicklableFlowError):
        pickle.dumps(memory)


@pytest.mark.parametrize("url", ["s3://", "s3://user@bucket/x", "s3://bucket/x#y", "s3://b/../x"])
def test_no_url_of_a_bucket(url: str) -> None:
    """Texts that cannot be meant are refused."""
    with pytest.raises(InvalidValueError):
        ObjectStateHandler(url, flow=FLOW)


def test_a_query_that_is_no_configuration() -> None:
    """The value of an unknown option is not shown."""
    with pytest.raises(InvalidValueError) as caught:
        ObjectStateHandler("s3://bucket/x?pasword=hunter2", flow=FLOW)
    assert "hunter2" not in str(caught.value)


def test_a_store_without_conditions_is_refused(tmp_path: Path) -> None:
    """Local files of obstore have no conditional replacement."""
    with pytest.raises(InvalidValueError, match="LocalStore"):
        ObjectStateHandler(LocalStore(tmp_path), flow=FLOW)


def test_the_url_is_not_shown_with_its_query() -> None:
    """Neither `repr` nor a location has what may be a secret."""
    keys = "access_key_id=a&secret_access_key=hunter2"
    handler = open_handler(f"s3://bucket/work?endpoint=http://127.0.0.1:1&{keys}")
    assert "hunter2" not in repr(handler) + handler.locate("a")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience of a run is over, and the error says so."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    url = "s3://bucket/work?endpoint=http://127.0.0.1:9&region=us-east-1"
    handler = open_handler(url, patience=0.3)
    with pytest.raises(StoreUnreachableError):
        counting(handler).run({"n": 0}, run_id="a")
    with pytest.raises(StoreUnreachableError):
        handler.runs(Query())


def test_a_bucket_that_is_not_there(bucket_url: str, bucket: str) -> None:
    """A missing bucket is an error at once."""
    handler = open_handler(bucket_url.replace(bucket, "no-such-bucket"))
    with pytest.raises(StorageError) as caught:
        counting(handler).run({"n": 0}, run_id="a")
    assert not isinstance(caught.value, StoreUnreachableError)


def test_runs_on_a_server(bucket_url: str) -> None:
    """Many runs at once end on a real server, and another handler reads them."""
    handler = open_handler(bucket_url, name=FLOW)
    cp = counting(handler)

    async def run_all() -> list[dict[str, Any]]:
        return await asyncio.gather(*(cp.arun({"n": 0}, run_id=f"r{n}") for n in range(20)))

    assert all(state["n"] == 3 for state in asyncio.run(run_all()))
    again = pickle.loads(pickle.dumps(handler))
    assert len(again.runs(Query())) == 20
    handler.close()


@pytest.mark.parametrize("keep", [1, 3])
def test_conformance_in_memory(keep: int) -> None:
    """All checks that a store of one process can have."""
    store = MemoryStore()

    def make() -> ObjectStateHandler:
        return ObjectStateHandler(store, flow="checked", lease=1, keep=keep)

    check_handler(make)
    make().close()
