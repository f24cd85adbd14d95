"""The file is changed just before a run loads it, or while the run loads it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import SECRET, Canary, Pieces

from aiocheckpoint import CheckpointFlow, LocalStateHandler, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from support import FlowFactory, Runner

FILLING = [[number] for number in range(100_000)]  # so many objects fill many frames


class Tampered(LocalStateHandler):
    """A local handler whose file is changed between reading its header and loading it."""

    def __init__(self, path: Path, tamper: Callable[[], object], **options: Any) -> None:  # noqa: ANN401
        """Change the file when it is opened for the second time."""
        super().__init__(path, fsync=False, **options)
        self._tamper = tamper
        self._opened = 0

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Open the file, and change it first if this is the second time."""
        self._opened += kept is None
        if self._opened == 2 and kept is None:
            self._tamper()
        return super().open(run_id, kept)


def older_one(flows: FlowFactory) -> None:
    """Replace the newest snapshot by the oldest kept one."""
    kept = LocalStateHandler(flows.path, keep="all")
    with kept.stored(None, kept.kept()[-1]) as found:
        assert found is not None
        found.file.seek(0)
        content = found.file.read()
    flows.path.unlink()
    flows.path.write_bytes(content)


def rewritten(flows: FlowFactory, **fields: object) -> None:
    """Replace the newest snapshot by one that differs only in these fields of its header."""
    pieces = Pieces.of(flows.path.read_bytes())
    flows.path.write_bytes(pieces.with_fields(**fields).joined())


TAMPERING: dict[str, Callable[[FlowFactory], object]] = {
    "deleted": lambda flows: flows.path.unlink(),
    "emptied": lambda flows: os.truncate(flows.path, 0),
    "damaged": lambda flows: os.truncate(flows.path, 30),
    "an older one": older_one,
    "one of another time": partial(rewritten, written_at=1.5),
    "one of another number": partial(rewritten, number=9),
    "one at another position": partial(rewritten, position=1),
    "a finished one": partial(rewritten, status="finished"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_changed_before_it_is_loaded(name: str, runner: Runner, flows: FlowFactory) -> None:
    """A plan made for one snapshot is never executed with another one or with an empty state."""
    flows.flow("a", "b", "c", fsync=False, keep="all").run({}, until="b")
    flows.log.clear()
    handler = Tampered(flows.path, lambda: TAMPERING[name](flows), keep="all")
    cp = CheckpointFlow(flows.path, handler)
    for step in ("a", "b", "c"):
        flows.add(cp, step)
    with pytest.raises(StorageError, match="another program changed"):
        runner(cp)
    assert flows.ran() == []


class Overwriting:
    """An object whose unpickling overwrites a part of a file."""

    def __init__(self, path: Path, content: bytes) -> None:
        """Keep the path and the content to write."""
        self.path = str(path)
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return overwrite, (self.path, self.content)


def overwrite(path: str, content: bytes) -> str:
    """Overwrite a file in place behind its first 300 kB, which may have been read ahead."""
    if not os.path.exists(path):  # noqa: PTH110 - loaded back before the first snapshot is there
        return "nothing"
    with open(path, "r+b") as file:  # noqa: PTH123
        file.seek(300_000)
        file.write(content * 10_000)
    return "overwritten"


def test_overwritten_while_it_is_loaded(flows: FlowFactory, tmp_path: Path) -> None:
    """With a secret, the loaded bytes are the verified ones, even if the file changes."""
    canary_file = tmp_path / "mark"
    canary = b"0cos\nmkdir\n(S'%b'\ntR." % str(canary_file).encode()
    handler = LocalStateHandler(flows.path, secret=SECRET, fsync=False)
    handler.write({"first": Overwriting(flows.path, canary), "rest": FILLING})
    found = handler.read()
    assert (found["first"], found["rest"]) == ("overwritten", FILLING)
    assert not canary_file.exists()
    assert canary in flows.path.read_bytes()


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """Without a secret the file is not verified, and the canary of these tests executes."""
    path, canary_file = tmp_path / "c.pkl", tmp_path / "mark"
    handler = LocalStateHandler(path, fsync=False)
    handler.write({"canary": Canary(canary_file)})
    handler.read()
    assert canary_file.is_dir()
