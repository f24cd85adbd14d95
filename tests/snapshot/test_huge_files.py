"""Files of ten gigabytes, most of it holes: refused at once, in a few megabytes of memory."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from forged_snapshots import Pieces
from locations import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory

SIZE = 10 << 30
MOST_MEMORY = 4 << 20
SCRIPT = str(program("huge_files_script.py"))


def holes(start: bytes, end: bytes = b"") -> Callable[[Path, bytes], None]:
    """Make what writes a file that starts and ends so, with nothing between."""

    def write(path: Path, sound: bytes) -> None:
        path.write_bytes(start)
        os.truncate(path, SIZE)
        with path.open("r+b") as file:
            file.seek(SIZE - len(end))
            file.write(end)

    return write


def cut_to_ten_gigabytes(path: Path, sound: bytes) -> None:
    """Lengthen a sound snapshot by a hole."""
    path.write_bytes(sound)
    os.truncate(path, SIZE)


def trailer(payload: int, header: int) -> bytes:
    """Make a trailer that claims these lengths."""
    return bytes(104) + struct.pack("<QQII8s", payload, header, 1, 0, b"aiockpt\n")


def sound_at_the_end(path: Path, sound: bytes) -> None:
    """Put a hole before a sound snapshot."""
    holes(b"", sound)(path, sound)


def altered_behind_a_hole(path: Path, sound: bytes) -> None:
    """Put a hole into the payload, under the header and the lengths that belong to it."""
    pieces = Pieces.of(sound)
    length = SIZE - len(pieces.header) - 136
    holes(pieces.payload, pieces.header + trailer(length, len(pieces.header)))(path, sound)


FILES: dict[str, Callable[[Path, bytes], None]] = {
    "hole": holes(b""),
    "sound and a hole": cut_to_ten_gigabytes,
    "hole and sound": sound_at_the_end,
    "header of the whole": holes(b"", trailer(0, SIZE - 136)),
    "header of 16 MiB": holes(b"", trailer(SIZE - 136 - (1 << 24), 1 << 24)),
    "header of more": holes(b"", trailer(SIZE - 137 - (1 << 24), (1 << 24) + 1)),
    "payload of the whole": holes(b"\x80\x05}.", trailer(SIZE - 136, 0)),
    "payload with a hole": altered_behind_a_hole,
    "start of a pickle": holes(b"\x80\x05}("),
    "bytes of the whole": holes(b"\x80\x05}\x8c\1a\x8e" + struct.pack("<Q", SIZE - 20), b"s0."),
    "bytes of more": holes(b"\x80\x05}\x8c\1a\x8e" + struct.pack("<Q", SIZE + 1)),
    "frame of the whole": holes(b"\x80\x05\x95" + struct.pack("<Q", SIZE - 11) + b"}"),
    "memo of the whole": holes(b"\x80\x05}r\xff\xff\xff\x7f"),
    "PNG": holes(b"\x89PNG\r\n\x1a\n"),
}
MEMORY_LIMITS = {"header of 16 MiB": 64 << 20}
LINES = {"line": holes(b"V"), "name": holes(b"cos\n"), "number": holes(b"I1"), "text": holes(b"S'")}


def tried(paths: list[Path]) -> list[list[tuple[str, str, int]]]:
    """Give what comes of all that reads each file, in a process of little memory."""
    command = [sys.executable, SCRIPT, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    found: list[list[tuple[str, str, int]]] = json.loads(done.stdout)
    assert [len(ways) for ways in found] == [6] * len(paths)
    return found


def wrong_with(path: Path, ways: list[tuple[str, str, int]], most: int) -> list[str]:
    """Say what is wrong with the refusals of a file."""
    kinds = {"CorruptSnapshotError", "UntrustedSnapshotError"}
    return [
        f"{path.name}: {kind} ({memory} bytes): {words}"
        for kind, words, memory in ways
        if kind not in kinds or memory > most or str(path) not in words or "reset()" not in words
    ]


def check_refused(flows: FlowFactory, files: dict[str, Callable[[Path, bytes], None]]) -> None:
    """Write files, and see them refused by all that reads, in little memory, and left alone."""
    flows.flow("a", fsync=False).run({"n": 1})
    sound = flows.path.read_bytes()
    paths = [flows.path.with_name(name) for name in files]
    for path, write in zip(paths, files.values(), strict=True):
        write(path, sound)
    before = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    assert {size for size, _ in before} == {SIZE}
    for path, ways in zip(paths, tried(paths), strict=True):
        assert wrong_with(path, ways, MEMORY_LIMITS.get(path.name, MOST_MEMORY)) == []
    assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths] == before


def test_huge_files(flows: FlowFactory) -> None:
    """A huge file that is no snapshot costs neither memory nor the time to read it."""
    check_refused(flows, FILES)


def test_lines_without_an_end(flows: FlowFactory) -> None:
    """A line that does not end, as of old protocols, costs no more memory than anything else."""
    check_refused(flows, LINES)
