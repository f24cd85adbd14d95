"""Looks at the snapshots that `keep=` keeps, and ways to spoil them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from support import FlowFactory, Runner, State, dump_bare

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.events import SnapshotWritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint import Header

STEPS = ("a", "b", "c", "d")
SECRET = "s" * 32
OTHER_SECRET = "o" * 32


def kept_directory(path: Path) -> Path:
    """Give the hidden directory of a snapshot's file."""
    return path.with_name(f".{path.name}.kept")


def kept_files(path: Path) -> list[Path]:
    """List what is kept of a file, oldest first."""
    directory = kept_directory(path)
    found = list(directory.iterdir()) if directory.is_dir() else []
    return sorted(found, key=lambda file: [int(part) for part in file.name.split("-")][::-1])


def kept_names(path: Path) -> list[str]:
    """Names of what is kept, number of the run and sequence, oldest first."""
    return [file.name for file in kept_files(path)]


def kept_headers(path: Path, **options: Any) -> list[Header]:  # noqa: ANN401 (passed on as is)
    """Headers of what is kept, oldest first."""
    handler = LocalStateHandler(path, keep="all", **options)
    headers: list[Header] = []
    for name in reversed(handler.kept()):
        with handler.stored(None, name) as found:
            assert found is not None
            headers.append(found.header)
    return headers


def kept_states(path: Path) -> list[State]:
    """States that are kept, oldest first."""
    handler = LocalStateHandler(path, keep="all")
    states: list[State] = []
    for name in reversed(handler.kept()):
        with handler.stored(None, name) as found:
            assert found is not None
            states.append(found.state())
    return states


def flow_run(flows: FlowFactory, runner: Runner, **options: Any) -> State:  # noqa: ANN401 (passed on as is)
    """Run a, b, c, d through a runner with every loader, so that resumed runs load alike."""
    return runner(flows.flow(*STEPS, fsync=False, **options), None, "always")


def watched(flows: FlowFactory, look: Callable[[], object], **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of a, b, c, d that looks whenever a snapshot is stored."""

    def hook(event: object) -> None:
        if isinstance(event, SnapshotWritten):
            look()

    cp = CheckpointFlow(flows.path, hooks=[hook], fsync=False, **options)
    for name in STEPS:
        flows.add(cp, name)
    return cp


def undisturbed() -> State:
    """Give the end of such a run."""
    return {"loads": list(STEPS), "trail": list(STEPS)}


def stop_after(flows: FlowFactory, last: str, **options: Any) -> None:  # noqa: ANN401 (passed on as is)
    """Let a run stop after a step, and forget what it wrote down."""
    flows.flow(*STEPS, fsync=False, **options).run({}, "always", until=last)
    flows.log.clear()
    flows.events.clear()


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def shorten(path: Path) -> None:
    """Take the last byte off a file."""
    os.truncate(path, path.stat().st_size - 1)


def flip_first(path: Path) -> None:
    """Flip one bit of the payload, in place."""
    _flip(path, 30)


def flip_last(path: Path) -> None:
    """Flip one bit of the footer, in place."""
    _flip(path, -60)


def fill_with_zeros(path: Path) -> None:
    """Keep the length of a file and nothing else, as some power cuts do."""
    path.write_bytes(bytes(path.stat().st_size))


def overwrite(path: Path) -> None:
    """Write somebody's picture into the file, in place."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))


def append(path: Path) -> None:
    """Add a byte to a file."""
    with path.open("ab") as file:
        file.write(b"\0")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "shortened": shorten,
    "flipped": flip_first,
    "footer flipped": flip_last,
    "zeros": fill_with_zeros,
    "overwritten": overwrite,
    "appended": append,
}


def leave_unsigned(path: Path) -> None:
    """Write a sound snapshot without a signature over a file, in place."""
    dump_bare(path, {"trail": ["forged"], "checkpoint_index": 3})


def sign_otherwise(path: Path) -> None:
    """Write a sound snapshot that is signed with another secret over a file, in place."""
    _write_signed(path, run_id=None, secret=OTHER_SECRET)


def sign_for_another_run(path: Path) -> None:
    """Write a sound snapshot that is signed for another run over a file, in place."""
    _write_signed(path, run_id="another", secret=SECRET)


FORGERIES: dict[str, Callable[[Path], None]] = {
    "unsigned": leave_unsigned,
    "other secret": sign_otherwise,
    "other run": sign_for_another_run,
}


def _write_signed(path: Path, run_id: str | None, secret: str) -> None:
    other = LocalStateHandler(path.parent / "forger" / path.name, secret=secret)
    other.write({"trail": ["forged"], "checkpoint_index": 3}, run_id)
    place = other.locate(run_id)
    with open(place, "rb") as file:  # noqa: PTH123 - a handler gives its place as text
        path.write_bytes(file.read())
    other.remove(run_id)


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
