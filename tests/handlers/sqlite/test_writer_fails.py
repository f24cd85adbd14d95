"""A writer thread that ends by an error fails its callers, and the next request starts another."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, StorageError
from aiocheckpoint._concurrency.pending_results import deliver
from aiocheckpoint.handlers.leased import _processor, _writer
from aiocheckpoint.handlers.leased._batches import into_batches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

    from aiocheckpoint.handlers.sqlite import SqliteStateHandler


class Once:
    """A function that raises MemoryError once or more times, and works otherwise."""

    def __init__(self, real: Callable[..., Any], times: int = 1, *, after: int = 0) -> None:
        self._real = real
        self._times = times
        self._after = after

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Raise, or call the function."""
        self._after -= 1
        if self._after < 0 < self._times:
            self._times -= 1
            raise MemoryError
        return self._real(*args, **options)


def fail_in(place: str, monkeypatch: pytest.MonkeyPatch, handler: SqliteStateHandler) -> None:
    """Let memory run out once at a place of the writer thread."""
    transactions = handler._client._processor  # noqa: SLF001
    if place == "sorting":
        monkeypatch.setattr(_processor, "into_batches", Once(into_batches, 2))
    elif place == "updating leases":
        monkeypatch.setattr(_processor, "_update_leases", Once(_processor._update_leases))  # noqa: SLF001
    elif place == "delivering":
        monkeypatch.setattr(_writer, "deliver", Once(deliver, 2))
    elif place == "translating":
        monkeypatch.setattr(_processor, "into_batches", Once(into_batches, 2))
        monkeypatch.setattr(transactions, "_translated", Once(transactions._translated, 2))  # noqa: SLF001
    else:
        monkeypatch.setattr(transactions, place, Once(getattr(transactions, place)))


PLACES = ["sorting", "updating leases", "delivering", "translating", "apply", "idle_timeout"]


def make_flow(path: Path) -> CheckpointFlow:
    """Make a flow of two steps."""
    cp = CheckpointFlow(path, "sqlite")
    for name in ("a", "b"):
        cp.add_step(name=name)(lambda state: None)
    return cp


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
def test_run_of_a_failing_writer(
    place: str, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails with the thread's error as the cause, and may run again at once."""
    cp = make_flow(tmp_path / "runs.db")
    with closing(cp.handler):
        cp.run({}, run_id="before")
        fail_in(place, monkeypatch, cp.handler)
        failure: StorageError | None = None
        try:
            runner(cp, {"x": 1}, run_id="r")
        except StorageError as error:
            failure = error
        monkeypatch.undo()
        # An error behind the commit, or between two requests, fails no run.
        if failure is not None:
            assert isinstance(failure.__cause__, MemoryError)
            assert "runs.db" in str(failure)
        assert runner(cp, {"x": 1}, run_id="r") == {"x": 1}
        header = cp.header("r")
        assert header is not None
        assert header.status == "finished"
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("place", PLACES)
def test_many_callers(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All callers that wait are woken, in tasks and in threads."""
    cp = make_flow(tmp_path / "runs.db")
    outcomes = list[Any]()

    def run(number: int) -> None:
        try:
            outcomes.append(cp.run({}, run_id=f"thread {number}"))
        except StorageError as error:
            outcomes.append(error)

    async def main() -> list[Any]:
        runs = (cp.arun({}, run_id=f"task {number}") for number in range(20))
        return list(await asyncio.gather(*runs, return_exceptions=True))

    with closing(cp.handler):
        cp.run({}, run_id="before")
        fail_in(place, monkeypatch, cp.handler)
        threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        outcomes += asyncio.run(main())
        for thread in threads:
            thread.join(60)
        assert len(outcomes) == 25
        assert {type(one) for one in outcomes} <= {dict, StorageError}
        monkeypatch.undo()
        for kind, number in [("task", 20), ("thread", 5)]:
            for one in range(number):
                assert cp.run({}, run_id=f"{kind} {one}") == {}


class ForgetfulList(list[Any]):
    """A list that once has no memory to grow."""

    def append(self, item: Any) -> None:  # noqa: ANN401
        """Raise at the first call."""
        if not FORGETFUL:
            FORGETFUL.append(None)
            raise MemoryError
        super().append(item)


FORGETFUL: list[None] = []


def test_request_between_queue_and_group(tmp_path: Path) -> None:
    """A request that was taken, and for which the group cannot grow, fails as all others do."""
    FORGETFUL.clear()
    cp = make_flow(tmp_path / "runs.db")
    with closing(cp.handler):
        cp.run({}, run_id="before")
        work = cp.handler._client._writer._requests  # noqa: SLF001
        work._group = ForgetfulList()  # noqa: SLF001
        with pytest.raises(StorageError) as info:
            cp.run({}, run_id="r")
        assert isinstance(info.value.__cause__, MemoryError)
        assert cp.run({}, run_id="r") == {}


def test_closed_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose writer has failed is closed as any other."""
    cp = make_flow(tmp_path / "runs.db")
    cp.run({}, run_id="before")
    fail_in("apply", monkeypatch, cp.handler)
    with pytest.raises(StorageError):
        cp.run({}, run_id="r")
    cp.handler.close()
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_that_ends_beside_its_own_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that ends while it fails its callers is not waited for by the next request."""
    cp = make_flow(tmp_path / "runs.db")
    with closing(cp.handler):
        cp.run({}, run_id="before")
        work = cp.handler._client._writer._requests  # noqa: SLF001
        fail_in("apply", monkeypatch, cp.handler)
        monkeypatch.setattr(work, "_fail_patiently", Once(work._fail_patiently))  # noqa: SLF001
        with pytest.raises(StorageError):
            cp.run({}, run_id="r")
        again = threading.Thread(target=cp.run, args=({},), kwargs={"run_id": "r"}, daemon=True)
        again.start()
        again.join(60)
        assert not again.is_alive()
        header = cp.header("r")
        assert header is not None
        assert header.status == "finished"
