"""The tools that the library publishes for others' tests find the faults that they are made for."""

from __future__ import annotations

import doctest
import io
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import pytest
from conformance_checks import SHORT

import aiocheckpoint.testing
from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    RunInProgressError,
    StateHandler,
)
from aiocheckpoint.testing import (
    MemoryStateHandler,
    check_handler,
    crash_everywhere,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _typeshed import ReadableBuffer as Buffer
    from support import State

    from aiocheckpoint import Header
    from aiocheckpoint.handlers import Lock, SnapshotTarget

Way = Literal["run", "arun"]
FIRST: dict[str, bytes] = {}
HELD: list[Lock] = []
both_runners = pytest.mark.parametrize("runner", ["run", "arun"])
every_check = pytest.mark.parametrize("check", SHORT, ids=lambda check: check.__name__)


def mixed_flow(path: str, effects: Counter[str]) -> CheckpointFlow:
    """Make a flow of sync and async parts that counts its effects outside."""
    cp = CheckpointFlow(path, fsync=False)

    async def load(state: State) -> State:
        return {"rows": [1, 2, 3]}

    def save(state: State, data: State) -> None:
        effects["save"] += 1

    @cp.add_step(load=load, save=save)
    def add(state: State, data: State) -> None:
        state["n"] += 1

    @cp.add_step()
    async def treble(state: State) -> None:
        effects["treble"] += 1
        state["n"] *= 3

    return cp


@both_runners
def test_sound_flow(runner: Way) -> None:
    """A flow that resumes well passes, and no effect is repeated more than once a break."""
    effects = Counter[str]()
    boundaries = crash_everywhere(lambda path: mixed_flow(path, effects), {"n": 1}, method=runner)
    assert boundaries > 10
    runs = 1 + 2 * boundaries
    assert runs <= effects["save"] <= 2 * runs
    assert runs <= effects["treble"] <= 2 * runs


async def test_inside_a_loop() -> None:
    """The check can be called while an event loop already runs."""
    effects = Counter[str]()
    assert crash_everywhere(lambda path: mixed_flow(path, effects), {"n": 1}, method="arun") > 10


@both_runners
def test_flow_that_keeps_its_state_elsewhere(runner: Way) -> None:
    """A flow with a global state ends otherwise after an interruption, and the check reports it."""
    outside: list[int] = []

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)

        @cp.add_step()
        def count(state: State) -> None:
            outside.append(1)
            state["count"] = len(outside)

        return cp

    with pytest.raises(AssertionError, match=r"crash .*the values of 'count' differ"):
        crash_everywhere(make_flow, {}, method=runner)
    assert crash_everywhere(make_flow, {}, method=runner, same=lambda one, other: True) > 3


def test_flow_at_a_place_of_its_own(tmp_path: Path) -> None:
    """A flow that is not stored at the path given, and might be the real one, is refused."""
    real = CheckpointFlow(tmp_path / "real.pkl")
    for name in ("a", "b"):
        real.add_step(name=name)(lambda state: None)
    real.run({"n": 1}, until="a")
    for handler in ("local", "sqlite"):
        other = CheckpointFlow(tmp_path / f"other.{handler}", handler)
        other.add_step(name="a")(lambda state: None)
        for flow in (real, other):
            with pytest.raises(InvalidValueError, match="would overwrite"):
                crash_everywhere(lambda _, flow=flow: flow)  # type: ignore[misc]
    assert real.read() == {"n": 1, "checkpoint_index": 1}


def test_states_that_cannot_be_compared() -> None:
    """Arrays in the state need `same=`, and the error says so."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)
        cp.add_step(name="a")(lambda state: state.update(x=np.arange(3)))
        return cp

    with pytest.raises(InvalidValueError, match="same="):
        crash_everywhere(make_flow, {})
    assert crash_everywhere(make_flow, {}, same=lambda a, b: list(a["x"]) == list(b["x"])) > 1


@both_runners
def test_flow_that_misses_its_data(runner: Way) -> None:
    """A step that needs data from the step before, and has no loader, breaks with a note."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)
        cp.add_step(name="fill")(lambda state, data: data.update(rows=[1]))
        cp.add_step(name="use")(lambda state, data: state.update(n=len(data["rows"])))
        return cp

    with pytest.raises(KeyError) as info:
        crash_everywhere(make_flow, {}, method=runner)
    assert any("crash_everywhere: after a crash" in note for note in info.value.__notes__)


@pytest.mark.parametrize(
    ("make_flow", "message"),
    [
        (lambda path: None, "must return a CheckpointFlow, not a NoneType.*return"),
        (lambda path: {"path": path}, "must return a CheckpointFlow, not a dict"),
        (CheckpointFlow("nowhere.pkl"), "a function of a path .* not a CheckpointFlow"),
        ("checkpoint.pkl", "a function of a path .* not a str"),
    ],
    ids=["returns nothing", "returns a dict", "a flow", "a path"],
)
def test_what_makes_no_flow(make_flow: Any, message: str) -> None:  # noqa: ANN401
    """Anything but a function that makes a flow is refused by name."""
    with pytest.raises(InvalidTypeError, match=message):
        crash_everywhere(make_flow)


@both_runners
@pytest.mark.parametrize("handler", ["local", "sqlite"])
def test_make_flow_is_given_paths(runner: Way, handler: str) -> None:
    """Each run has a path of its own as text, an interrupted one the same path twice."""
    paths: list[str] = []

    def make_flow(path: str) -> CheckpointFlow:
        paths.append(path)
        cp = CheckpointFlow(path, handler, fsync=False)
        cp.add_step(name="add")(lambda state: state.update(n=1))
        return cp

    boundaries = crash_everywhere(make_flow, {}, method=runner)
    assert {type(path) for path in paths} == {str}
    counted = sorted(paths.count(path) for path in set(paths))
    assert counted == [1, *[2] * (2 * boundaries)]


def test_example_of_the_module() -> None:
    """The example in the docstring does as it says."""
    result = doctest.testmod(aiocheckpoint.testing)
    assert result.attempted > 3
    assert result.failed == 0


@every_check
@pytest.mark.parametrize(
    "options",
    [{}, {"keep": 3, "secret": "s" * 32, "verify": True}, {"keep": "all"}],
    ids=["plain", "signed-3", "all"],
)
def test_local_handler(
    check: Callable[[Callable[[], StateHandler]], None], options: dict[str, Any], tmp_path: Path
) -> None:
    """The local handler passes every check."""
    check(lambda: LocalStateHandler(tmp_path / "c.pkl", fsync=False, **options))


@every_check
@pytest.mark.parametrize("keep", [1, 2, "all"])
def test_memory_handler(
    check: Callable[[Callable[[], StateHandler]], None], keep: Literal[1, 2, "all"]
) -> None:
    """The handler in memory passes every check."""
    handler = MemoryStateHandler(keep=keep)
    check(lambda: handler)


def test_memory_handler_in_a_flow() -> None:
    """A flow in memory fails, is locked while it runs, and resumes."""
    handler = MemoryStateHandler()
    broken = [True]
    cp = CheckpointFlow("memory", handler=handler)

    @cp.add_step()
    def step(state: State) -> None:
        state["n"] += 1
        with pytest.raises(RunInProgressError):
            cp.run()
        if broken:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        cp.run({"n": 1})
    broken.clear()
    assert cp.run({"n": 1}) == {"n": 2}


# --- handlers that are broken in one way each


class ForgetsIds(LocalStateHandler):
    """Takes two ids for one run."""

    def locate(self, run_id: str | None = None) -> str:
        """Fold case."""
        return super().locate(None if run_id is None else run_id.lower())


class WritesInPlace(LocalStateHandler):
    """Deletes the old snapshot before the new one is whole."""

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Delete first."""
        self.remove(run_id, lock=lock)
        return super().replace(run_id, write_to, amends, lock=lock)


class Faulty:
    """Takes bytes as a target does, with one fault."""

    def __init__(self, target: SnapshotTarget, fault: str) -> None:
        """Wrap a sound target."""
        self._target = target
        self._fault = fault

    def write(self, chunk: Buffer, /) -> object:
        """Write."""
        return self._target.write(chunk)

    def rewind(self) -> None:
        """Rewind, or not."""
        if self._fault != "rewind":
            self._target.rewind()

    def read_back(self) -> BinaryIO:
        """Give the written bytes, or nothing."""
        return io.BytesIO() if self._fault == "read_back" else self._target.read_back()


class NoRewind(LocalStateHandler):
    """Keeps the bytes that a rewind takes back."""

    fault = "rewind"

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Write through a faulty target."""

        def faulty(target: SnapshotTarget) -> Header:
            return write_to(Faulty(target, self.fault))

        return super().replace(run_id, faulty, amends, lock=lock)


class NothingBack(NoRewind):
    """Reads nothing back."""

    fault = "read_back"


class Stale(LocalStateHandler):
    """Gives readers the snapshot that it read first."""

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Read once."""
        file = super().open(run_id, kept)
        if run_id != "readers" or file is None:
            return file
        with file:
            return io.BytesIO(FIRST.setdefault(run_id, file.read()))


class Stuck(LocalStateHandler):
    """Has a lock that is never given back."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give a lock whose release does nothing."""
        lock = super().lock(run_id)
        HELD.append(lock)
        return Acquiring(lock)


class Acquiring:
    """A lock that can only be taken."""

    held = True

    def __init__(self, lock: Lock) -> None:
        """Wrap a sound lock."""
        self.acquire = lock.acquire

    def release(self) -> None:
        """Do nothing."""


class NoLock:
    """A lock that never refuses."""

    held = True

    def acquire(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


class Unlocked(LocalStateHandler):
    """Has no lock."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give a lock that never refuses."""
        return NoLock()


class KeepsAll(LocalStateHandler):
    """Deletes nothing."""

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Do nothing, except on a place without a state."""
        if self.read(run_id) == {}:
            super().remove(run_id, lock=lock)


class Misordered(LocalStateHandler):
    """Lists retained snapshots from the oldest on."""

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List backwards."""
        return super().kept(run_id)[::-1]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (ForgetsIds, "names each run's location"),
        (WritesInPlace, "the old snapshot stays as it was"),
        (Unlocked, "gets no second one"),
        (KeepsAll, "deletes the snapshot for all"),
        (Misordered, "lists the newest first"),
        (NothingBack, r"read_back\(\) gives the bytes written"),
        (Stale, "the last snapshot stays"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_broken_handlers(kind: type[LocalStateHandler], rule: str, tmp_path: Path) -> None:
    """A handler with one fault fails, with the rule that it breaks in the message."""
    with pytest.raises(AssertionError, match=rule):
        check_handler(lambda: kind(tmp_path / "c.pkl", fsync=False, keep=3))


def test_broken_rewind(tmp_path: Path) -> None:
    """A handler that ignores a rewind stores something else than the state."""
    with pytest.raises((AssertionError, CheckpointError)):
        check_handler(lambda: NoRewind(tmp_path / "c.pkl", fsync=False))


def test_broken_release(tmp_path: Path) -> None:
    """A handler that never gives a lock back cannot be written to a second time."""
    try:
        with pytest.raises(RunInProgressError):
            check_handler(lambda: Stuck(tmp_path / "c.pkl", fsync=False))
    finally:
        while HELD:
            HELD.pop().release()
