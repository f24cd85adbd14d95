"""What somebody does to the file while a run is about to load it, or loads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from forging import SECRET, Canary

from aiocheckpoint import CheckpointFlow, LocalStateHandler, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from support import Door, Lab

FILLING = [[number] for number in range(100_000)]  # so many objects fill many frames


class Meddled(LocalStateHandler):
    """A local handler whose file somebody changes between the look at it and its loading."""

    def __init__(self, path: Path, meddle: Callable[[], object], **options: Any) -> None:  # noqa: ANN401
        """Meddle when the file is opened for the second time."""
        super().__init__(path, fsync=False, **options)
        self._meddle = meddle
        self._opened = 0

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Open it."""
        self._opened += kept is None
        if self._opened == 2 and kept is None:
            self._meddle()
        return super().open(run_id, kept)


def older_one(lab: Lab) -> None:
    """Put the oldest snapshot that is kept in the newest one's place."""
    kept = LocalStateHandler(lab.path, keep="all")
    with kept.stored(None, kept.kept()[-1]) as found:
        assert found is not None
        found.file.seek(0)
        content = found.file.read()
    lab.path.unlink()
    lab.path.write_bytes(content)


MEDDLING: dict[str, Callable[[Lab], object]] = {
    "deleted": lambda lab: lab.path.unlink(),
    "emptied": lambda lab: os.truncate(lab.path, 0),
    "damaged": lambda lab: os.truncate(lab.path, 30),
    "an older one": older_one,
}


@pytest.mark.parametrize("name", MEDDLING)
def test_changed_before_it_is_loaded(name: str, door: Door, lab: Lab) -> None:
    """A plan made for one snapshot is not carried out with another, nor with an empty state."""
    lab.flow("a", "b", "c", fsync=False, keep="all").run({}, until="b")
    lab.log.clear()
    handler = Meddled(lab.path, lambda: MEDDLING[name](lab), keep="all")
    cp = CheckpointFlow(lab.path, handler)
    for step in ("a", "b", "c"):
        lab.add(cp, step)
    with pytest.raises(StorageError, match="changed by somebody else"):
        door(cp)
    assert lab.ran() == []


class Overwriting:
    """Overwrites a good part of a file when it is unpickled."""

    def __init__(self, path: Path, content: bytes) -> None:
        """Remember what to write where."""
        self.path = str(path)
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return overwrite, (self.path, self.content)


def overwrite(path: str, content: bytes) -> str:
    """Write behind the first 300 kB of a file, which may have been read ahead, in place."""
    with open(path, "r+b") as file:  # noqa: PTH123
        file.seek(300_000)
        file.write(content * 10_000)
    return "overwritten"


def test_overwritten_while_it_is_loaded(lab: Lab, tmp_path: Path) -> None:
    """With a secret the bytes that are loaded are those that were verified, whatever comes."""
    mark = tmp_path / "mark"
    canary = b"0cos\nmkdir\n(S'%b'\ntR." % str(mark).encode()
    handler = LocalStateHandler(lab.path, secret=SECRET, fsync=False)
    handler.write({"first": Overwriting(lab.path, canary), "rest": FILLING})
    found = handler.read()
    assert (found["first"], found["rest"]) == ("overwritten", FILLING)
    assert not mark.exists()
    assert canary in lab.path.read_bytes()


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """Without a secret nobody asks who wrote it: the canary used here does what it is to do."""
    path, mark = tmp_path / "c.pkl", tmp_path / "mark"
    handler = LocalStateHandler(path, fsync=False)
    handler.write({"canary": Canary(mark)})
    handler.read()
    assert mark.is_dir()
