"""Large states are written to the file in pieces, without a second copy in memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from streams import footer_of

from aiocheckpoint import CheckpointFlow, Header, LocalStateHandler, inspect
from aiocheckpoint._logging import LARGE_BYTES
from aiocheckpoint._snapshot.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer as Buffer
    from support import FlowFactory, Runner, State

MIB = 1 << 20
SIZE = 20 * MIB
SHARE = 0.25


@dataclass
class Counting:
    """A target that keeps only the length of each piece."""

    pieces: list[int] = field(default_factory=list[int])

    def write(self, chunk: Buffer, /) -> None:
        """Count a piece."""
        self.pieces.append(memoryview(chunk).nbytes)

    def rewind(self) -> None:
        """Start over."""
        self.pieces.clear()

    def read_back(self) -> BinaryIO:
        """Fail, because nothing was kept."""
        raise AssertionError


def small_objects() -> State:
    """Make 20 MiB of 40,000 dicts with texts."""
    return {"rows": [{"n": n, "text": f"{n:0520}"} for n in range(40_000)]}


def large_bytes() -> State:
    """Make 20 MiB in two objects."""
    return {"one": bytes(SIZE // 2), "other": bytearray(SIZE // 2)}


def beside_code() -> State:
    """Make 20 MiB that dill has to write because of a function beside them."""
    return {"f": lambda: 1, "rows": [bytes(100_000) for _ in range(SIZE // 100_000)]}


STATES: dict[str, Callable[[], State]] = {
    "many small objects": small_objects,
    "large bytes": large_bytes,
    "beside a function": beside_code,
}


@pytest.fixture
def header(tmp_path: Path) -> Header:
    """Give the header of a snapshot, to write others with."""
    handler = LocalStateHandler(tmp_path / "small.pkl", fsync=False)
    handler.write({"a": 1})
    found = handler.header()
    assert found is not None
    return found


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Give a function that measures the peak memory since its last call."""
    tracemalloc.start()

    def taken() -> int:
        size, most = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return most - size

    yield taken
    tracemalloc.stop()


@pytest.mark.parametrize("name", STATES)
def test_a_snapshot_is_written_in_pieces(name: str, header: Header) -> None:
    """Small objects are written in pieces of less than a MiB while the rest is being dumped."""
    target = Counting()
    state = STATES[name]()
    Codec().write(header, state, None, target)
    assert sum(target.pieces) > SIZE * 0.95
    if name == "large bytes":
        assert sorted(target.pieces)[-2:] == [SIZE // 2, SIZE // 2]
    else:
        assert max(target.pieces) <= MIB
        assert len(target.pieces) >= SIZE // MIB
        assert len(target.pieces) <= SIZE // 50_000


def test_pieces_leave_before_the_end(header: Header) -> None:
    """The first piece is written long before the last object is pickled."""
    target = Counting()
    pieces_before: list[int] = []

    class Asking:
        def __getstate__(self) -> dict[str, Any]:
            pieces_before.append(len(target.pieces))
            return {"text": "x" * 60_000}

    rows = [Asking() for _ in range(50)]
    Codec().write(header, {"rows": rows}, None, target)
    assert pieces_before[-1] >= 5
    assert pieces_before == sorted(pieces_before)


@pytest.mark.parametrize("name", STATES)
def test_writing_takes_little_memory(
    name: str, flows: FlowFactory, peak: Callable[[], int], runner: Runner
) -> None:
    """Writing needs much less memory than the size of the snapshot, through either runner."""
    state = STATES[name]()
    handler = LocalStateHandler(flows.path, fsync=False)
    handler.write({"warm": "up"})
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    runner.write(handler, state)
    _, most = tracemalloc.get_traced_memory()
    assert most - before < SIZE * SHARE
    assert flows.path.stat().st_size > SIZE * 0.95


@pytest.mark.parametrize("name", STATES)
def test_reading_takes_little_more_than_the_state(name: str, flows: FlowFactory) -> None:
    """Checking the digest and loading need little memory beyond the state itself."""
    handler = LocalStateHandler(flows.path, fsync=False)
    handler.write(STATES[name]())
    tracemalloc.start()
    try:
        state = handler.read()
        size, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - size < SIZE * SHARE
    assert len(state) == len(STATES[name]())


def test_header_of_a_large_snapshot_is_read_alone(flows: FlowFactory) -> None:
    """Reading the header reads the end of the file, not the payload."""
    handler = LocalStateHandler(flows.path, fsync=False)
    handler.write(large_bytes())
    tracemalloc.start()
    try:
        header = handler.header()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header is not None
    assert most < MIB


def test_record_of_a_failure_copies_in_pieces(flows: FlowFactory) -> None:
    """The record of a failure needs little memory for a stored state of any size."""
    cp = flows.flow("a", "b", fsync=False)
    cp.run(large_bytes(), until="a")
    before, _ = footer_of(flows.path.read_bytes())

    def fail(state: State) -> None:
        tracemalloc.start()
        raise OSError("broken")

    cp.add_step(name="b", replace=True)(fail)
    try:
        with pytest.raises(OSError, match="broken"):
            cp.run()
        size, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - size < SIZE * SHARE
    assert footer_of(flows.path.read_bytes())[0] == before


def test_what_the_first_try_wrote_is_taken_back(header: Header, flows: FlowFactory) -> None:
    """If the C pickler gives up late, at a function, nothing of its stream remains."""
    target = Counting()
    state = {"rows": [bytes(100_000) for _ in range(50)], "f": lambda: 1}
    Codec().write(header, state, None, target)
    assert 5_000_000 < sum(target.pieces) < 5_100_000
    handler = LocalStateHandler(flows.path, fsync=False)
    handler.write(state)
    assert flows.path.stat().st_size < 5_100_000
    loaded = handler.read()
    assert (loaded["rows"], loaded["f"]()) == (state["rows"], 1)


def test_advice_for_a_large_snapshot(flows: FlowFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot of 100 MB logs the advice to use `data` and a saver, once a run."""
    cp = CheckpointFlow(flows.path, fsync=False)
    cp.add_step(name="a")(lambda state: state.update(large=bytes(LARGE_BYTES)))
    cp.add_step(name="b")(lambda state: None)
    cp.run({})
    [advice] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    for words in ("100 MB", "`data`", "saver", f"inspect({str(flows.path)!r}).sizes"):
        assert words in advice
    sizes = inspect(flows.path).sizes
    assert sizes is not None
    assert LARGE_BYTES <= sizes["large"] < LARGE_BYTES + 100
