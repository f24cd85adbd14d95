"""Under `allow=` a stored snapshot loads no global that is not listed, by any opcode."""

from __future__ import annotations

import asyncio
import contextlib
import copyreg
import json
import pickle
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from streams import snapshot_of
from support import Runner

from aiocheckpoint import (
    CheckpointError,
    LocalStateHandler,
    UntrustedSnapshotError,
    inspect,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import FlowFactory

HEADER: dict[str, Any] = {
    "flow": "checkpoint",
    "run_id": None,
    "number": 1,
    "steps": ["a", "b"],
    "python": "3.11.7",
    "dill": "0.4.1",
    "library": "0.1.0",
    "sequence": 1,
    "position": 0,
    "status": "stopped",
    "code": False,
    "written_at": 1.5,
    "failure": None,
    "durations": {},
}


def short(text: str) -> bytes:
    """Give the opcode that pushes a short text."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


MARK = short("mark")
CALL = MARK + b"\x85R"
EVAL = short("__import__('os').mkdir('mark')") + b"\x85R"

EXECUTING: dict[str, tuple[bytes, str]] = {
    "GLOBAL": (b"cos\nmkdir\n" + CALL, "os:mkdir"),
    "GLOBAL of where it is": (b"cposix\nmkdir\n" + CALL, "posix:mkdir"),
    "STACK_GLOBAL": (short("os") + short("mkdir") + b"\x93" + CALL, "os:mkdir"),
    "STACK_GLOBAL of the memo": (
        b"%b\x940%b\x940h\0h\1\x93" % (short("os"), short("mkdir")) + CALL,
        "os:mkdir",
    ),
    "nested name": (short("shutil") + short("os.mkdir") + b"\x93" + CALL, "shutil:os.mkdir"),
    "nested name by GLOBAL": (b"cshutil\nos.mkdir\n" + CALL, "shutil:os.mkdir"),
    "INST": (b"(" + MARK + b"ios\nmkdir\n", "os:mkdir"),
    "OBJ": (b"(cos\nmkdir\n" + MARK + b"o", "os:mkdir"),
    "REDUCE of a tuple": (b"cos\nmkdir\n(" + MARK + b"tR", "os:mkdir"),
    "PUT and GET": (b"cos\nmkdir\np7\n0g7\n" + CALL, "os:mkdir"),
    "key": (b"N0cos\nmkdir\n" + CALL, "os:mkdir"),
    "eval": (b"cbuiltins\neval\n" + EVAL, "builtins:eval"),
    "eval of Python 2": (b"\x80\2c__builtin__\neval\n" + EVAL, "__builtin__:eval"),
    "module of dill": (
        b"cdill._dill\n_import_module\n%b\x85R0" % short("shutil") + b"cos\nmkdir\n" + CALL,
        "dill._dill:_import_module",
    ),
}

SILENT: dict[str, tuple[bytes, str]] = {
    "class": (b"cbuiltins\nobject\n", "builtins:object"),
    "NEWOBJ": (b"cbuiltins\nlist\n)\x81", "builtins:list"),
    "NEWOBJ_EX": (b"cbuiltins\ndict\n)}\x92", "builtins:dict"),
    "BUILD of an instance": (
        b"ccollections\nCounter\n)\x81}%bK\1sb" % short("a"),
        "collections:Counter",
    ),
    "reconstructor": (
        b"ccopyreg\n_reconstructor\n(cbuiltins\nlist\ncbuiltins\nobject\nNtR",
        "copyreg:_reconstructor",
    ),
    "reconstructor of Python 2": (b"ccopy_reg\n_reconstructor\n", "copy_reg:_reconstructor"),
    "no such module": (b"cno_such_module\nname\n", "no_such_module:name"),
    "names of many parts": (short("a.b") + short("c.d.e") + b"\x93", "a.b:c.d.e"),
    "odd names": (short("os:path") + short("join\n") + b"\x93", "os:path:join\n"),
}

BROKEN: dict[str, bytes] = {
    "persistent id": b"Pos.mkdir\n",
    "persistent id from the stack": short("os.mkdir") + b"Q",
    "names as bytes": b"C\2osC\5mkdir\x93",
    "names as numbers": b"K\1K\2\x93",
    "call of a text": short("mkdir") + MARK + b"\x85R",
    "NEWOBJ of a text": short("mkdir") + MARK + b"\x85\x81",
    "OBJ of a text": b"(" + short("mkdir") + MARK + b"o",
    "BUILD of a dict": b"}}" + short("__class__") + MARK + b"sb",
    "BUILD of a list": b"]}" + short("append") + MARK + b"sb",
    "APPEND to a text": short("a") + MARK + b"a",
    "unknown extension": b"\x82\x01",
    "out of band buffer": b"\x97",
}

KINDS = ("bare", "sealed")
Values = tuple[bytes, str]


def stored_as(kind: str, value: bytes) -> bytes:
    """Give a file whose dict has this value: a bare pickle, or one under a valid footer."""
    payload = b"\x80\x05}" + short("checkpoint_index") + b"K\0s" + short("k") + value + b"s."
    return payload if kind == "bare" else snapshot_of(payload, json.dumps(HEADER).encode())


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check_refused(
    flows: FlowFactory,
    data: bytes,
    runner: Runner,
    *allow: str,
    kind: type[CheckpointError] = CheckpointError,
) -> str:
    """Write bytes to the file, check that nothing loads or runs them, and give the error's text."""
    flows.path.write_bytes(data)
    handler = LocalStateHandler(flows.path, allow=allow, fsync=False)
    ways: list[Callable[[], object]] = [
        lambda: runner(flows.flow("a", "b", allow=allow, fsync=False)),
        handler.read,
        lambda: asyncio.run(handler.aread()),
    ]
    for way in ways:
        with pytest.raises(CheckpointError) as info:
            way()
        assert isinstance(info.value, kind)
    with contextlib.suppress(CheckpointError):
        inspect(flows.path)
    assert (flows.log, flows.path.read_bytes(), Path("mark").exists()) == ([], data, False)
    return str(info.value)


@pytest.mark.parametrize("name", EXECUTING)
def test_the_canaries_sing(name: str) -> None:
    """Plain dill executes each of the canaries of the next test."""
    dill.loads(stored_as("bare", EXECUTING[name][0]))
    assert Path("mark").is_dir()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*EXECUTING, *SILENT])
def test_no_global_is_loaded(name: str, kind: str, flows: FlowFactory, runner: Runner) -> None:
    """Any opcode that names a global neither finds nor calls it. The error names the global.

    It is also refused if other globals are listed, even its parts and neighbours.
    """
    value, named = {**EXECUTING, **SILENT}[name]
    data = stored_as(kind, value)
    words = check_refused(flows, data, runner, kind=UntrustedSnapshotError)
    assert named in words
    assert "allow=" in words
    check_refused(
        flows,
        data,
        runner,
        *("os:path", "os:mkdirs", "os.path:mkdir", "shutil:os", "shutil:mkdir", "collections:dict"),
        kind=UntrustedSnapshotError,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BROKEN)
def test_broken_programs(name: str, kind: str, flows: FlowFactory, runner: Runner) -> None:
    """Invalid programs of opcodes without globals are refused by a documented error."""
    check_refused(flows, stored_as(kind, BROKEN[name]), runner)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["GLOBAL", "STACK_GLOBAL", "nested name", "OBJ", "INST"])
def test_what_is_listed_is_loaded(name: str, kind: str, flows: FlowFactory) -> None:
    """A listed global is loaded and called. The user vouches for it by listing it."""
    value, named = EXECUTING[name]
    flows.path.write_bytes(stored_as(kind, value))
    assert LocalStateHandler(flows.path, allow=[named]).read()["k"] is None
    assert Path("mark").is_dir()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_legacy_files(protocol: int, flows: FlowFactory, runner: Runner) -> None:
    """A bare pickle of plain data is read, in any protocol, and a run resumes from it."""
    plain = {"n": [1, -(2**70), 1.5, None, True], "t": ("ä", {"x": "y"}), "trail": ["a"]}
    flows.path.write_bytes(dill.dumps({**plain, "checkpoint_index": 1}, protocol))
    assert LocalStateHandler(flows.path, allow=()).read() == {**plain, "checkpoint_index": 1}
    assert runner(flows.flow("a", "b", allow=(), fsync=False))["trail"] == ["a", "b"]


def test_legacy_files_of_more_than_plain_data(flows: FlowFactory, runner: Runner) -> None:
    """A bare pickle of dill's that names globals is refused. Nothing of it is loaded."""
    flows.path.write_bytes(b"")
    for value in (1j, len, lambda: 1, type(None), Path("a"), range(2), Ellipsis):
        words = check_refused(
            flows,
            dill.dumps({"v": value, "checkpoint_index": 0}),
            runner,
            kind=UntrustedSnapshotError,
        )
        assert "allow=" in words


# --- numbers of copyreg.add_extension

NUMBERS = {"EXT1": 0x41, "EXT2": 0x4142, "EXT4": 0x41424344}


@pytest.fixture(params=NUMBERS)
def extension(request: pytest.FixtureRequest) -> Iterator[bytes]:
    """Give `os.mkdir` a number, and give the opcode that names it by the number."""
    number = NUMBERS[request.param]
    copyreg.add_extension("os", "mkdir", number)
    packed = struct.pack("<I", number).rstrip(b"\0")
    yield bytes([0x81 + len(packed) - len(packed) // 4]) + packed
    copyreg.remove_extension("os", "mkdir", number)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers(
    kind: str, extension: bytes, flows: FlowFactory, runner: Runner, *, warm: bool
) -> None:
    """A global named by its number is refused, also if pickle has cached it."""
    if warm:
        assert pickle.loads(b"\x80\x02" + extension + b".").__name__ == "mkdir"
    check_refused(flows, stored_as(kind, extension + CALL), runner, kind=UntrustedSnapshotError)
    nested = b"](" + extension + CALL + b"e"
    check_refused(flows, stored_as(kind, nested), runner, "os:mkdir", kind=UntrustedSnapshotError)


HIDING: dict[str, bytes] = {
    "number in base 16": b"I0x10\n0",
    "long number in base 16": b"L0x10L\n0",
    "memo beyond the file": b"Np99999\n0",
    "long memo beyond the file": b"Nr\x00\x00\x01\x000",
}


@pytest.mark.parametrize("kind", ["bare", "sealed"])
@pytest.mark.parametrize("name", HIDING)
def test_numbers_behind_what_is_odd(
    name: str, kind: str, extension: bytes, flows: FlowFactory
) -> None:
    """Opcodes that only pickle accepts do not hide a number behind them."""
    value = HIDING[name] + extension + CALL
    assert pickle.loads(stored_as("bare", value))["k"] is None
    Path("mark").rmdir()
    check_refused(flows, stored_as(kind, value), Runner("run"))


@pytest.mark.usefixtures("extension")
def test_numbers_of_others_are_no_matter(flows: FlowFactory, runner: Runner) -> None:
    """A program that registers numbers reads and writes plain data as any other."""
    cp = flows.flow("a", "b", allow=(), fsync=False)
    runner(cp, {"n": [1], "bytes": b"\x82A" * 3}, until="a")
    assert runner(cp)["trail"] == ["a", "b"]
