"""`map`, `stream` and `resume_all` left early: the runs are cancelled, and waited for."""

from __future__ import annotations

import gc
import itertools
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from locations import program, with_support
from plain_loops import PATIENCE, HeldFlow, nothing_runs, threads_of_loops, until
from traced_interrupts import TracedInterrupt

from aiocheckpoint import CheckpointFlow, inspect_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import State

    from aiocheckpoint import SyncStream

SCRIPT = program("twins_script.py")
Results: TypeAlias = "SyncStream[Any]"


class BodyError(Exception):
    """Raised in the body of a loop."""


def by_break(make: Callable[[], Results], held: HeldFlow) -> None:
    """Leave the loop, which drops the stream."""
    for _ in make():
        held.arrived(2)
        break


def by_del(make: Callable[[], Results], held: HeldFlow) -> None:
    """Drop the stream."""
    results = make()
    next(results)
    held.arrived(2)
    del results


def by_close(make: Callable[[], Results], held: HeldFlow) -> None:
    """Close it."""
    results = make()
    next(results)
    held.arrived(2)
    results.close()


def by_block(make: Callable[[], Results], held: HeldFlow) -> None:
    """Raise an exception in a block."""
    with suppress(BodyError), make() as results:
        for _ in results:
            held.arrived(2)
            raise BodyError


def by_exception(make: Callable[[], Results], held: HeldFlow) -> None:
    """Raise one in the body of a loop, without a block, and drop its traceback."""
    try:
        for _ in make():
            held.arrived(2)
            raise BodyError  # noqa: TRY301
    except BodyError:
        pass


def by_garbage(make: Callable[[], Results], held: HeldFlow) -> None:
    """Drop a cycle that holds the stream."""
    cycle: list[Any] = [make()]
    cycle.append(cycle)
    next(cycle[0])
    held.arrived(2)
    del cycle
    gc.collect()


WAYS = [by_break, by_del, by_close, by_block, by_exception, by_garbage]


@pytest.mark.parametrize("method", ["map", "resume_all"])
@pytest.mark.parametrize("leave", WAYS)
def test_runs_have_ended(
    leave: Callable[[Callable[[], Any], HeldFlow], None], method: str, tmp_path: Path
) -> None:
    """They are cancelled and free behind the line that closes the stream, and can be resumed."""
    held = HeldFlow(tmp_path)
    cp = held.flow()
    runs: dict[str, State] = {"0": {"quick": True}, "1": {}, "2": {}}
    if method == "resume_all":
        held.store_stopped(runs)
    leave(lambda: cp.map(runs) if method == "map" else cp.resume_all(), held)
    assert held.inside == []
    assert threads_of_loops() == []
    assert cp.count("status")["cancelled"] == 2
    held.free.set()
    assert [cp.run(run_id=run_id)["second"] for run_id in ("1", "2")] == [1, 1]


def test_events(tmp_path: Path) -> None:
    """A run that is watched is cancelled when its stream is closed."""
    held = HeldFlow(tmp_path)
    cp = held.flow()
    with cp.stream({}, run_id="r") as stream:
        next(stream)
        held.arrived(1)
    assert held.inside == []
    header = cp.header("r")
    assert header is not None
    assert (header.status, header.position) == ("cancelled", 1)


def test_sync_step_is_waited_for(tmp_path: Path) -> None:
    """A step in a thread ends before `close` returns, and is done."""
    held = HeldFlow(tmp_path, sync=True)
    cp = held.flow()
    results = cp.map({"0": {}})
    waiting = threading.Thread(target=lambda: next(results, None))
    waiting.start()
    held.arrived(1)
    timer = threading.Timer(0.1, held.free.set)
    timer.start()
    until(lambda: not waiting.is_alive())
    results.close()
    assert held.ran == ["0"]
    assert cp.count("status")["finished"] == 1


def test_closed_by_another_thread(tmp_path: Path) -> None:
    """`close` waits in whatever thread it is called."""
    held = HeldFlow(tmp_path, sync=True)
    cp = held.flow()
    results = cp.map({"0": {"quick": True}, "1": {}})
    taking = threading.Thread(target=lambda: next(results))
    taking.start()
    taking.join()
    held.arrived(1)
    threading.Timer(0.1, held.free.set).start()
    results.close()
    assert held.ran == ["1"]
    assert threads_of_loops() == []


def test_collected_in_a_thread_that_its_runs_need(tmp_path: Path) -> None:
    """A finalizer in a step of the stream's own runs does not wait for itself."""
    cp: CheckpointFlow = CheckpointFlow(tmp_path, handler="local", fsync=False)
    dropped = threading.Event()
    collected = list[str]()

    @cp.add_step()
    def step(state: State) -> None:
        if state.get("collects"):
            assert dropped.wait(PATIENCE)
            gc.collect()
            collected.append(threading.current_thread().name)

    cycle: list[Any] = [cp.map({"quick": {}, "slow": {"collects": True}})]
    cycle.append(cycle)
    gc.disable()
    try:
        next(cycle[0])
        del cycle
        dropped.set()
        until(lambda: bool(collected))
    finally:
        gc.enable()
    until(nothing_runs)
    assert collected == ["aiocheckpoint-step"]


def test_not_begun(tmp_path: Path) -> None:
    """A stream that gave no item has begun nothing, and does not begin behind `close`."""
    cp = HeldFlow(tmp_path).flow()
    asked = list[int]()

    def source() -> Iterator[tuple[str, State]]:
        asked.append(1)
        yield "0", {}

    results = cp.map(source())
    results.close()
    assert list(results) == []
    del results
    assert asked == []
    assert cp.count() == 0


def test_interrupted_at_every_point(tmp_path: Path) -> None:
    """Ctrl-C wherever the caller's thread is: it comes out, and nothing is left behind."""
    places = set[str]()
    for number in itertools.count(1):
        held = HeldFlow(tmp_path / str(number))
        held.free.set()
        interrupt = TracedInterrupt(("/loop_thread.py", "/caller_thread.py"), number)
        pairs: list[tuple[str, State]] = [("0", {}), ("1", {})]
        results = held.flow().map(iter(pairs))
        try:
            with interrupt.armed():
                for _ in results:
                    pass
                results.close()
        except KeyboardInterrupt:
            places.add(interrupt.place)
        del results
        until(nothing_runs)
        again = held.flow().map({"0": {}, "1": {}}, once=True)
        assert {result.run_id: repr(result.error) for result in again} == {"0": "None", "1": "None"}
        if not interrupt.place:
            break
    assert {"CallerThread.wait", "items_from_loop"} <= places


@pytest.mark.parametrize("what", ["map", "stream", "resume_all"])
def test_ctrl_c_in_the_wait(what: str, tmp_path: Path) -> None:
    """A process that is sent SIGINT while it waits ends its runs, and can resume them."""
    with start(what, tmp_path) as process:
        read_until(process, "held")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert out.split() == ["KeyboardInterrupt", "none"], err
    assert "Traceback" not in err
    statuses = [found.status for found in inspect_all(tmp_path / "runs")]
    assert statuses
    assert set(statuses) == {"cancelled"}


def test_worker_drained_by_a_signal(tmp_path: Path) -> None:
    """The loop over `work` ends in good order when the handler of a signal calls `drain`."""
    with start("work", tmp_path) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)}
        assert lines == {"held", "quick ConnectionError"}
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in err) == (0, False), err
    *ends, threads = out.splitlines()
    assert threads == "none"
    assert sorted(ends) == [f"{number} NoneType" for number in range(3)]


def test_left_open_at_the_end_of_the_process(tmp_path: Path) -> None:
    """A program that ends with an open stream ends its runs first, and does not hang."""
    with start("open", tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.split()) == (0, ["held", "end"]), err
    assert "Traceback" not in err
    found = [one.status for one in inspect_all(tmp_path / "runs")]
    assert sorted(found) == [*["cancelled"] * 3, "failed"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs os.fork")
def test_forked_in_the_body(tmp_path: Path) -> None:
    """A child has no loop: it ends without waiting for one, and the parent goes on."""
    with start("fork", tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.split()) == (0, ["child", "StreamConsumedError", "0", "3"]), err


def start(what: str, place: Path) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), what, str(place / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=with_support(),
    )


def read_until(process: subprocess.Popen[str], line: str) -> None:
    """Read its output up to a line."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line
    time.sleep(0.05)  # It waits for the next item by now.
