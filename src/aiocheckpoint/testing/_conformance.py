"""What every state handler must do, as functions to run against any of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.flow import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint._header import Header
    from aiocheckpoint._snapshot import Target
    from aiocheckpoint.handlers import StateHandler

__all__ = ["HANDLER_CHECKS", "check_handler"]

_ODD_IDS = (
    *("order-42", "a", "A", "../up", "/absolute", "a/b", "a\\b", "CON", "*", "a b", "a.b", "%41"),
    *("caf\u00e9", "cafe\u0301", "line\nbreak", "nul\0", "\ud800", "x" * 300, "x" * 301),
)


def check_handler(make: Callable[[], StateHandler]) -> None:
    """See that a state handler does all that a flow needs of it.

    With pytest, the single checks read better: parametrize a test with `HANDLER_CHECKS` and call
    each with `make`.

    Args:
        make: Makes a handler, again and again, of one and the same place, as processes that
            start one after another would. The place is used up: what is stored there is lost.

    Raises:
        AssertionError: It does not; the message says what must hold.
    """
    for check in HANDLER_CHECKS:
        check(make)


def check_nothing_stored(make: Callable[[], StateHandler]) -> None:
    """Where nothing is stored, reading gives nothing and deleting does nothing."""
    with _fresh(make, "nothing") as handler:
        _must(handler.open("nothing") is None, "open() gives None where nothing is stored")
        _must(handler.header("nothing") is None, "header() gives None where nothing is stored")
        _must(handler.read("nothing") == {}, "read() gives {} where nothing is stored")
        _must(not handler.kept("nothing"), "kept() is empty where nothing is stored")
        handler.remove("nothing")


def check_stored_state(make: Callable[[], StateHandler]) -> None:
    """What one handler stores, another one of the same place reads, until it is deleted."""
    with _fresh(make, "round") as handler:
        handler.write({"n": 1, "checkpoint_index": 2}, "round")
        handler.write({"n": 2, "checkpoint_index": 3}, "round")
        other = make()
        _must(other.read("round") == {"n": 2, "checkpoint_index": 3}, "the newest state is read")
        header = other.header("round")
        own = header is not None and (header.position, header.run_id) == (3, "round")
        _must(own, "a stored snapshot has the header of its run")
        other.remove("round")
        _must(handler.read("round") == {}, "remove() deletes the snapshot for all")
        _must(not handler.kept("round"), "remove() deletes what was kept as well")


def check_runs_apart(make: Callable[[], StateHandler]) -> None:
    """Each run has a place of its own, whatever its id."""
    with contextlib.ExitStack() as stack:
        handler = stack.enter_context(_fresh(make, None))
        for run_id in _ODD_IDS:
            stack.enter_context(_fresh(make, run_id))
        everyone: tuple[str | None, ...] = (None, *_ODD_IDS)
        places = {handler.locate(one) for one in everyone}
        _must(len(places) == len(everyone), "locate() names each run's place")
        for one in everyone:
            handler.write({"id": one}, one)
        for one in everyone:
            _must(handler.read(one)["id"] == one, f"run {one!r} has its own state")
        handler.remove("a")
        _must(handler.read("A"), "deleting one run leaves the others")


def check_whole_or_not_at_all(make: Callable[[], StateHandler]) -> None:
    """A write that breaks off, at whatever, leaves what was stored as it was."""
    with _fresh(make, "whole") as handler:
        handler.write({"n": 1}, "whole")
        before = _bytes_of(handler, "whole")
        for error in (ValueError("in the middle"), KeyboardInterrupt(), SystemExit(1)):
            emit = partial(_write_and_raise, error)
            raised: BaseException | None = None
            try:
                handler.replace("whole", emit)
            except BaseException as caught:  # noqa: BLE001 - looked at
                raised = caught
            _must(raised is error, "replace() lets what emit raised out as it is")
            _must(_bytes_of(make(), "whole") == before, "the old snapshot stays as it was")


def check_large_states(make: Callable[[], StateHandler]) -> None:
    """States of several MiB are stored, also where what was written is taken back midway."""
    with _fresh(make, "large") as handler:
        # The C pickler gives up at the function, and everything is written once more by dill.
        state: dict[str, Any] = {"rows": [bytes(300_000)] * 3 + [bytes(9) * 99_999]}
        handler.write(state, "large")
        _must(handler.read("large")["rows"] == state["rows"], "a large state comes back")
        state["function"] = lambda: 42
        handler.write(state, "large")
        found = handler.read("large")
        _must(found["rows"] == state["rows"], "rewind() takes back what was written")
        _must(found["function"]() == 42, "functions come back")  # noqa: PLR2004


def check_read_back(make: Callable[[], StateHandler]) -> None:
    """What was written so far can be read before it takes its place."""
    with _fresh(make, "back") as handler:
        seen: list[bytes] = []

        def emit(target: Target) -> Header:
            target.write(b"abc")
            with target.read_back() as file:
                seen.append(file.read())
            raise LookupError

        with contextlib.suppress(LookupError):
            handler.replace("back", emit)
        _must(seen == [b"abc"], "read_back() gives what was written")


def check_lock(make: Callable[[], StateHandler]) -> None:
    """One run has one owner, and the lock can be taken again when it is given back."""
    with _fresh(make, "lock") as handler, _fresh(make, "other"):
        lock = handler.lock("lock")
        lock.release()
        lock.acquire()
        try:
            for second in (handler, make()):
                _assert_refused(second, "lock")
            other = make().lock("other")
            other.acquire()
            other.release()
        finally:
            lock.release()
            lock.release()
        again = make().lock("lock")
        again.acquire()
        again.release()


def check_one_of_many(make: Callable[[], StateHandler]) -> None:
    """Of many threads that ask for one lock at once, one gets it."""
    with _fresh(make, "many"):
        barrier = threading.Barrier(8)

        def ask(_: int) -> Any:  # noqa: ANN401 - a lock or None
            lock = make().lock("many")
            barrier.wait()
            try:
                lock.acquire()
            except RunInProgressError:
                return None
            return lock

        with ThreadPoolExecutor(8) as pool:
            locks = [lock for lock in pool.map(ask, range(8)) if lock is not None]
        for lock in locks:
            lock.release()
        _must(len(locks) == 1, f"one of eight gets the lock, not {len(locks)}")


def check_readers(make: Callable[[], StateHandler]) -> None:
    """Who reads while another writes sees whole snapshots, and never an older one again."""
    with _fresh(make, "readers") as handler:
        handler.write({"n": 0}, "readers")

        def write() -> None:
            for number in range(1, 60):
                handler.write({"n": number, "filling": "x" * 10_000}, "readers")

        writer = threading.Thread(target=write)
        writer.start()
        last = 0
        while writer.is_alive():
            number = make().read("readers")["n"]
            _must(number >= last, "a reader never sees an older snapshot after a newer one")
            last = number
        writer.join()
        _must(make().read("readers")["n"] == 59, "the last snapshot stays")  # noqa: PLR2004


def check_kept_snapshots(make: Callable[[], StateHandler]) -> None:
    """What is listed as kept can be opened, newest first, each with the header that names it."""
    with _fresh(make, "kept") as handler:
        for number in range(5):
            handler.write({"n": number}, "kept")
        names = handler.kept("kept")
        _must(names == sorted(names, key=lambda name: -name[1]), "kept() lists the newest first")
        for name in names:
            with handler.stored("kept", name) as found:
                key = None if found is None else (found.header.number, found.header.sequence)
                _must(key == name, "kept() names what can be opened, as its header does")


def check_flow(make: Callable[[], StateHandler]) -> None:
    """A flow that breaks goes on where it broke, from another handler of the same place."""
    with _fresh(make, "flow"):
        trail: list[str] = []
        broken = [True]
        try:
            _flow(make(), trail, broken).run({"n": 1}, run_id="flow")
        except ConnectionError:
            broken.clear()
        _must(not broken, "the flow breaks in its second step")
        header = make().header("flow")
        _must(header is not None and header.failure is not None, "the header tells what broke")
        state = asyncio.run(_flow(make(), trail, broken).arun(run_id="flow"))
        _must(state == {"n": 3}, "the state goes on as it was on entry to the broken step")
        _must(trail == ["one", "two", "two"], "the step before the broken one is not repeated")


HANDLER_CHECKS: tuple[Callable[[Callable[[], StateHandler]], None], ...] = (
    check_nothing_stored,
    check_stored_state,
    check_runs_apart,
    check_whole_or_not_at_all,
    check_large_states,
    check_read_back,
    check_lock,
    check_one_of_many,
    check_readers,
    check_kept_snapshots,
    check_flow,
)
"""The single checks of `check_handler`: each is called with `make`."""


def _must(holds: object, rule: str) -> None:
    """Assert, also where Python runs without assertions."""
    if not holds:
        raise AssertionError(rule)


@contextlib.contextmanager
def _fresh(
    make: Callable[[], StateHandler], run_id: str | None
) -> Generator[StateHandler, None, None]:
    """Give a handler with nothing stored of a run, before and after."""
    handler = make()
    handler.remove(run_id)
    try:
        yield handler
    finally:
        handler.remove(run_id)


def _bytes_of(handler: StateHandler, run_id: str) -> bytes | None:
    file = handler.open(run_id)
    if file is None:
        return None
    with file:
        return file.read()


def _write_and_raise(error: BaseException, target: Target) -> Header:
    target.write(b"half of a snapshot")
    raise error


def _assert_refused(handler: StateHandler, run_id: str) -> None:
    lock = handler.lock(run_id)
    try:
        lock.acquire()
    except RunInProgressError:
        return
    lock.release()
    _must(False, "a run that has an owner gets no second one")  # noqa: FBT003


def _flow(handler: StateHandler, trail: list[str], broken: list[bool]) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)

    @cp.add_step()
    def one(state: dict[str, Any]) -> None:
        trail.append("one")
        state["n"] += 1

    @cp.add_step()
    async def two(state: dict[str, Any]) -> None:
        trail.append("two")
        state["n"] += 1
        if broken:
            raise ConnectionError("broken on purpose")

    return cp
