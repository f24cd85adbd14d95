"""Any bytes given to the reader: a dict, or one of the documented errors."""

from __future__ import annotations

import json
import pickle
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import dill  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from streams import footer_of, snapshot_of

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    FlowChangedError,
    IncompatibleSnapshotError,
    InvalidValueError,
    LocalStateHandler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUIET = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REFUSALS = (CorruptSnapshotError, IncompatibleSnapshotError)
SPARE_MEMORY = 1 << 30


@pytest.fixture(autouse=True, scope="module")
def _little_memory() -> Iterator[None]:
    """Limit the process to little more memory than it has."""
    resource = pytest.importorskip("resource", reason="limits are of POSIX")
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    """Give the bytes of a valid, unfinished snapshot."""
    path = tmp_path / "sound" / "checkpoint.pkl"
    make_flow(path).run({"a": [1, "text"]}, until="one")
    return path.read_bytes()


def make_flow(path: Path) -> CheckpointFlow:
    """Make a flow of two steps."""
    cp = CheckpointFlow(path, fsync=False)
    cp.add_step(name="one")(lambda state: None)
    cp.add_step(name="two")(lambda state: None)
    return cp


def check_arbitrary(path: Path, data: bytes) -> bool:
    """Give arbitrary bytes to every reader, except those that begin as a database does.

    A database has a refusal of its own. Hypothesis tries the constants of the library's modules,
    and so its first bytes.
    """
    assume(not data.startswith(b"SQLite format 3\0"))
    return check(path, data)


def check(path: Path, data: bytes) -> bool:
    """Give bytes to every reader, and return whether they were accepted as a snapshot.

    If a run finishes, its file is a valid snapshot.
    """
    handler = LocalStateHandler(path, fsync=False)
    path.write_bytes(data)
    taken = _attempt(handler.read) is not None
    _attempt(handler.header)
    _attempt(make_flow(path).plan, FlowChangedError)
    assert path.read_bytes() == data
    if _attempt(make_flow(path).run, FlowChangedError, InvalidValueError) is not None:
        header = handler.header()
        assert header is not None
        assert header.status == "finished"
        assert isinstance(handler.read(), dict)
    return taken


def _attempt(call: Callable[[], Any], *more: type[CheckpointError]) -> Any:  # noqa: ANN401
    try:
        return call()
    except CheckpointError as error:
        if not isinstance(error, (*REFUSALS, *more)):
            raise
        return None


# --- bytes


@QUIET
@given(st.binary(max_size=400))
@example(b".")
@example(b"}.")
@example(b"\x80\x05}.")
@example(b"N.")
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    """Random bytes are refused, or are a pickle of a dict by chance."""
    check_arbitrary(tmp_path / "checkpoint.pkl", data)


Edits: TypeAlias = list[tuple[int, int, bytes]]
EDIT = st.tuples(st.integers(0, 2000), st.integers(0, 60), st.binary(max_size=20))


@QUIET
@given(st.lists(EDIT, min_size=1, max_size=4))
def test_edited_snapshots(
    sound: bytes, tmp_path: Path, edits: list[tuple[int, int, bytes]]
) -> None:
    """A snapshot with parts removed, overwritten or inserted is refused, unless nothing changed."""
    data = sound
    for at, length, new in edits:
        start = at % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    taken = check_arbitrary(tmp_path / "checkpoint.pkl", data)
    assert taken == (data in {sound, b""})


@QUIET
@given(st.lists(EDIT, min_size=1, max_size=3))
def test_edited_bare_pickles(tmp_path: Path, edits: Edits) -> None:
    """An edited bare pickle is loaded or refused. It has no digest to check."""
    data = dill.dumps({"a": [1, "text"], "checkpoint_index": 1})
    for at, length, new in edits:
        start = at % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    check_arbitrary(tmp_path / "checkpoint.pkl", data)


OPCODES = st.one_of(
    st.sampled_from(
        [
            *(b"(", b".", b"0", b"1", b"2", b"N", b"]", b"}", b")", b"a", b"e", b"s", b"u", b"d"),
            *(b"l", b"t", b"b", b"R", b"o", b"Q", b"\x81", b"\x85", b"\x86", b"\x87", b"\x88"),
            *(b"\x89", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"\x97", b"\x98"),
            *(b"cbuiltins\nlist\n", b"cbuiltins\ndict\n", b"ccollections\nOrderedDict\n"),
            *(b"I5\n", b"F1.5\n", b"S'a'\n", b"Va\n", b"L5L\n", b"p0\n", b"g0\n", b"Px\n"),
        ]
    ),
    st.builds(
        lambda op, arg: op + arg,
        st.sampled_from([b"K", b"q", b"h"]),
        st.binary(min_size=1, max_size=1),
    ),
    st.builds(
        lambda op, arg: op + arg,
        st.sampled_from([b"J", b"r", b"j", b"M", b"X", b"T", b"B", b"\x84", b"\x8b"]),
        st.binary(min_size=4, max_size=4),
    ),
    st.builds(
        lambda op, arg: op + arg,
        st.sampled_from([b"\x95", b"\x8d", b"\x8e", b"\x96", b"G"]),
        st.binary(min_size=8, max_size=8),
    ),
    st.text(max_size=5).map(lambda text: b"\x8c" + bytes([len(text.encode())]) + text.encode()),
)


@QUIET
@given(st.lists(OPCODES, max_size=20))
@example([b"}", b"r\xff\xff\xff\x7f"])
@example([b"}", b"p4000000000\n"])
@example([b"}", b"p-1\n"])
def test_any_pickle_program(tmp_path: Path, program: list[bytes]) -> None:
    """Random pickle programs are refused, or give a dict by chance."""
    check(tmp_path / "checkpoint.pkl", b"\x80\x05" + b"".join(program) + b".")


# --- headers with valid digests

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
PAYLOADS = st.one_of(
    st.dictionaries(st.text(max_size=4), JSON, max_size=3).map(
        lambda state: pickle.dumps(state, 5)
    ),
    JSON.map(pickle.dumps),
    st.sampled_from([b"", b".", b"N.", b"}", b"(", b"0.", b"hello", b"\x80\x05}", b"\x80\x63}."]),
)
FIELDS = [
    *("flow", "position", "run_id", "number", "sequence", "steps", "status", "failure"),
    *("durations", "expected", "snapshots", "code", "python", "dill", "library", "written_at"),
]


@QUIET
@given(st.sampled_from(FIELDS), JSON)
@example("durations", [1])
@example("snapshots", {"one": [1]})
@example("snapshots", {"one": [1, 10**400]})
@example("snapshots", {"one": [True, 1]})
@example("snapshots", {"one": {"bytes": 1}})
@example("durations", {"": float("inf")})
@example("expected", [1])
@example("expected", None)
@example("expected", {"": float("nan")})
@example("expected", {"": 10**400})
@example("expected", {"": "1"})
@example("expected", {"one": [1]})
@example("expected", {str(number): number for number in range(5000)})
@example("durations", {"": 10**400})
@example("written_at", float("nan"))
@example("durations", {"one": None})
@example("python", 5)
@example("sequence", "a")
@example("number", None)
@example("position", 10**30)
@example("position", True)  # noqa: FBT003 - a value
@example("steps", [1, 2])
@example("steps", ["one", "one"])
@example("written_at", float("inf"))
@example("failure", {"step": 1})
@example("status", "no such word")
def test_header_with_one_odd_field(sound: bytes, tmp_path: Path, field: str, value: object) -> None:
    """A header with a valid digest and one odd field is accepted or refused."""
    payload, header = footer_of(sound)
    header[field] = value
    check(tmp_path / "checkpoint.pkl", snapshot_of(payload, json.dumps(header).encode()))


@QUIET
@given(st.sampled_from(FIELDS))
def test_header_without_a_field(sound: bytes, tmp_path: Path, field: str) -> None:
    """A header with a valid digest and a missing field is accepted or refused."""
    payload, header = footer_of(sound)
    header.pop(field, None)  # The costs of snapshots may be missing already.
    check(tmp_path / "checkpoint.pkl", snapshot_of(payload, json.dumps(header).encode()))


@QUIET
@given(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON), PAYLOADS)
def test_any_header_and_payload(tmp_path: Path, header: object, payload: bytes) -> None:
    """Any JSON as the header and any bytes as the payload, with valid digests, are handled."""
    data = snapshot_of(payload, json.dumps(header).encode())
    check(tmp_path / "checkpoint.pkl", data)


@pytest.mark.parametrize(
    "header",
    [b"", b"\xff", b"[" * 200_000, b'{"a":' * 200_000, b'{"position":' + b"9" * 5000 + b"}", b"\0"],
    ids=["empty", "no UTF-8", "deep lists", "deep objects", "huge number", "zero"],
)
def test_odd_headers(header: bytes, sound: bytes, tmp_path: Path) -> None:
    """Headers that break JSON parsers in other ways are refused."""
    payload, _ = footer_of(sound)
    assert check(tmp_path / "checkpoint.pkl", snapshot_of(payload, header)) is False


@QUIET
@given(PAYLOADS)
def test_any_payload(sound: bytes, tmp_path: Path, payload: bytes) -> None:
    """Any bytes as the payload under a valid header are accepted or refused."""
    _, header = footer_of(sound)
    check(tmp_path / "checkpoint.pkl", snapshot_of(payload, json.dumps(header).encode()))


@pytest.mark.parametrize("position", [3, 5, 70_000, 2**31 - 1])
@pytest.mark.parametrize("named", [True, False], ids=["named", "bare"])
def test_position_behind_the_last_step(position: int, tmp_path: Path, *, named: bool) -> None:
    """A position after the last step, patched in by hand, is refused and not taken for the end."""
    path = tmp_path / "checkpoint.pkl"
    cp = make_flow(path)
    if named:
        cp.run({}, until="one")
        cp.handler.write({"checkpoint_index": position})
    else:
        path.write_bytes(dill.dumps({"checkpoint_index": position}))
    with pytest.raises((FlowChangedError, InvalidValueError), match="one") as info:
        cp.run()
    assert len(str(info.value)) < 2000
    assert str(cp.plan().refused) == str(info.value)
    cp.run(checkpoint="two")
    assert LocalStateHandler(path).read() == {"checkpoint_index": 0}
