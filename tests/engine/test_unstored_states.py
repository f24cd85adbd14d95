"""A state that cannot be stored: the step's work is in the error, and is stored once mended."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import socket
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from interrupts import this_task
from run_factories import UNFINISHED

from aiocheckpoint import CheckpointFlow, UnserializableStateError, events

if TYPE_CHECKING:
    from pathlib import Path

    from flaky_steps import AnyStore
    from support import Runner, State

SECRET = "fd1c8c2e-an-hour-of-work"  # noqa: S105 - no password


class Work:
    """A value that can be stored, and watched."""

    def __init__(self) -> None:
        """Hold the work."""
        self.text = SECRET


class AsyncDicts:
    """A user's own handler of coroutine functions."""

    def __init__(self) -> None:
        """Begin with nothing stored."""
        self.kept: State = {}

    async def read(self) -> State:
        """Return the stored state."""
        return copy.deepcopy(self.kept)

    async def write(self, state: State) -> None:
        """Keep a state."""
        self.kept = state


def working(store: AnyStore, calls: list[str], last: str = "last") -> CheckpointFlow:
    """Make a flow whose second step puts an open socket into the state, and deletes a key."""
    return filled(store.empty_flow(), calls, last)


def filled(cp: CheckpointFlow, calls: list[str], last: str = "last") -> CheckpointFlow:
    """Add these steps to a flow."""

    @cp.add_step()
    def first(state: State) -> None:
        calls.append("first")
        state["old"] = 1

    @cp.add_step()
    def work(state: State) -> None:
        calls.append("work")
        del state["old"]
        state["work"] = SECRET
        state["conn"] = socket.socket()

    if last:
        cp.add_step(name=last)(lambda state: calls.append(last))
    return cp


def unstored(runner: Runner, cp: CheckpointFlow, run_id: str | None, *args: Any) -> Any:  # noqa: ANN401
    """Run until the state cannot be stored, and give the error with its socket closed."""
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, *args, run_id=run_id)
    assert info.value.state is not None
    info.value.state["conn"].close()
    return info.value


def paste(error: UnserializableStateError, cp: CheckpointFlow) -> list[str]:
    """Execute the last lines of the message, as at a prompt where `await` is allowed."""
    lines = str(error).partition(" behind the step:\n")[2].split("\n")
    code = "async def cell():\n " + "\n ".join(lines)
    names: dict[str, Any] = {"cp": cp, "error": error}
    exec(code, names)  # noqa: S102 - the library's own advice
    asyncio.run(names["cell"]())
    return lines


@pytest.mark.parametrize("last", ["last", ""], ids=["middle", "end"])
def test_mended_by_the_lines_of_the_message(last: str, any_store: AnyStore, runner: Runner) -> None:
    """The pasted lines store all that the step made, and the next run goes on behind it."""
    calls = list[str]()
    cp = working(any_store, calls, last)
    error = unstored(runner, cp, any_store.run_id, {"given": 1})
    assert (error.step, [path for path, _ in error.offenders]) == ("work", ['state["conn"]'])
    assert error.state == {"given": 1, "work": SECRET, "conn": error.state["conn"]}
    lines = paste(error, cp)
    assert lines[0] == 'del error.state["conn"]'
    assert any_store.go(runner, cp) == {"given": 1, "work": SECRET}
    assert calls == ["first", "work", *[last] * bool(last)]
    if any_store.has_headers:
        assert any_store.go(runner, cp, once=True) == {"given": 1, "work": SECRET}
        assert any_store.header().number == 1


def test_lines_at_a_prompt(
    runner: Runner, file_store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person at a prompt, who has no name for the error, is given one first."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    lines = str(unstored(runner, working(file_store, list[str]()), None, {})).splitlines()
    assert lines[-3] == "import sys; error = sys.last_value"


def test_lines_for_values_inside_of_others(runner: Runner, tmp_path: Path) -> None:
    """Values that no single line mends are named in the lines, and a memory map is copied."""
    cp = CheckpointFlow(tmp_path / "x.pkl", fsync=False)

    @cp.add_step()
    def work(state: dict[str, Any]) -> None:
        state["map"] = np.memmap(tmp_path / "map", shape=(3,), mode="w+", dtype="u1")[1:]
        state["nested"] = {"conn": socket.socket()}

    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {})
    lines = str(info.value).partition(" behind the step:\n")[2].splitlines()
    assert lines[:2] == [
        '# put a copy in the place of error.state["map"] here, as by numpy.array()',
        '# mend state["nested"]["conn"] in error.state here',
    ]
    state = info.value.state
    assert state is not None
    state["nested"].pop("conn").close()
    state["map"] = np.array(state["map"])
    paste(info.value, cp)
    assert list(runner.do(cp, "read")["map"]) == [0, 0]


def test_resumed_run(runner: Runner, file_store: AnyStore) -> None:
    """A resumed run, whose state is nobody's dict, gives its work as well."""
    calls = list[str]()
    runner(working(file_store, calls), {}, until="first")
    cp = working(file_store, calls)
    error = unstored(runner, cp, None)
    paste(error, cp)
    assert runner(cp) == {"work": SECRET}
    assert calls == ["first", "work", "last"]


def test_handler_of_coroutines(runner: Runner, tmp_path: Path) -> None:
    """Where `write` of a user's handler is a coroutine function, the call is awaited."""
    calls, handler = list[str](), AsyncDicts()
    cp = filled(CheckpointFlow(tmp_path, handler=handler), calls)
    lines = paste(unstored(runner, cp, None, {}), cp)
    assert lines[-1].startswith("await cp.handler.write(")
    assert handler.kept == {"work": SECRET, "checkpoint_index": 2}
    assert runner(cp) == {"work": SECRET}


@pytest.mark.parametrize("place", ["state", "data"])
def test_kept_data(place: str, runner: Runner, tmp_path: Path) -> None:
    """With `keep_data=True` the error has `data` too, and it is stored with the state."""
    cp, seen = CheckpointFlow(tmp_path / "c.pkl", keep_data=True), list[dict[str, Any]]()

    @cp.add_step()
    def work(state: State, data: State) -> None:
        data["rows"] = state["rows"] = [1]
        {"state": state, "data": data}[place]["conn"] = socket.socket()

    @cp.add_step(load=lambda state: {"rows": "loaded again"})
    def look(state: State, data: State) -> None:
        seen.append(dict(data))

    given: State = {}
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, given)
    error = info.value
    assert error.state is not None
    kept = error.state["checkpoint_data"]
    {"state": error.state, "data": kept}[place]["conn"].close()
    assert "checkpoint_data" not in given
    paste(error, cp)
    assert runner(cp) == {"rows": [1]}
    assert seen == [{"rows": [1]}]


@pytest.mark.parametrize("key", ['a"b', "a\nb", "a\\b", "x" * 100, 3])
def test_keys_that_are_no_line(key: Any, runner: Runner, tmp_path: Path) -> None:  # noqa: ANN401
    """A key that does not fit into a line of Python is not deleted by one."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="work")(lambda state: state.update({key: socket.socket()}))
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {})
    error = info.value
    assert error.state is not None
    error.state.pop(key).close()
    *comments, line = paste(error, cp)
    assert all(comment.startswith("# mend state[") for comment in comments)
    assert line.startswith("cp.handler.write(")
    assert runner(cp) == {}


def test_no_value_in_any_text(runner: Runner, file_store: AnyStore) -> None:
    """The state is in no text of the error, and in no copy that pickle makes."""
    error = unstored(runner, working(file_store, []), None, {})
    assert SECRET not in f"{error}{error!r}{error.args}{error.__notes__}"
    again = pickle.loads(pickle.dumps(error))
    assert SECRET.encode() not in pickle.dumps(error)
    assert (again.state, again.step, again.offenders) == (None, error.step, error.offenders)
    assert "error.state" not in str(again)
    assert str(error).startswith(str(again))


def test_before_the_first_step(runner: Runner, tmp_path: Path) -> None:
    """A given state that cannot be stored is the caller's own, so the error has none."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="only")(lambda state: None)
    with socket.socket() as conn, pytest.raises(UnserializableStateError) as info:
        runner(cp, {"conn": conn})
    assert info.value.state is None
    assert "cp.handler.write" not in str(info.value)


async def test_cancelled_meanwhile(tmp_path: Path) -> None:
    """A cancellation comes out, and its cause has the state."""
    cp, conns = CheckpointFlow(tmp_path / "c.pkl"), list[socket.socket]()

    @cp.add_step(thread=False)
    def work(state: State) -> None:
        state["work"] = SECRET
        conns.append(state.setdefault("conn", socket.socket()))
        this_task().cancel()

    with pytest.raises(asyncio.CancelledError) as info:
        await asyncio.create_task(cp.arun({}))
    conns.pop().close()
    cause = info.value.__cause__
    assert isinstance(cause, UnserializableStateError)
    assert cause.state is not None
    assert cause.state["work"] == SECRET


async def failure_of(cp: CheckpointFlow, seen: list[events.Event]) -> BaseException:
    """Take all events of a stream, and give the exception at its end."""
    stream = cp.astream({}, run_id="x")
    while True:
        try:
            seen.append(await anext(stream))
        except (UnserializableStateError, asyncio.CancelledError) as error:
            return error


@pytest.mark.parametrize("way", ["amap", "astream", "aresume_all"])
@pytest.mark.parametrize("cancels", [False, True], ids=["error", "cancellation"])
async def test_streams_drop_the_state(way: str, cancels: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Results and events of streams hold no state, and keep no value of one alive."""
    cp, watched = CheckpointFlow(tmp_path / "runs/"), list["weakref.ref[Work]"]()

    @cp.add_step()
    def first(state: State) -> None:
        pass

    @cp.add_step(thread=False)
    def work(state: State) -> None:
        with socket.socket() as conn:
            state.update(work=Work(), conn=conn)
        watched.append(weakref.ref(state["work"]))
        if cancels:
            this_task().cancel()

    found: BaseException | None
    if way == "astream":
        seen = list[events.Event]()
        found = await failure_of(cp, seen)
        assert isinstance(seen[-1], events.StepFailed)
        assert seen[-1].error is found
    else:
        await cp.arun({}, run_id="x", until="first")
        (result,) = await (
            cp.amap({"x": {}}) if way == "amap" else cp.aresume_all(status=UNFINISHED)
        )
        found = result.error
    assert found is not None
    unstored_error = found.__cause__ if cancels else found
    assert isinstance(unstored_error, UnserializableStateError)
    assert unstored_error.state is None
    assert "error.state" not in str(unstored_error)
    del unstored_error
    # The process knows the dict of its last broken run, to recognise it when it is given again.
    another = CheckpointFlow(tmp_path / "another.pkl")
    another.add_step(name="breaks")(lambda state: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await another.arun({})
    gc.collect()
    assert [reference() for reference in watched] == [None]
