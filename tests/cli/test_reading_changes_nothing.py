"""The reading commands leave a store as it is, to the byte, and start nothing that is in it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cli import invoke

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.look import _file_systems

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

PLACES = {"orders.db": "sqlite:///{}/orders.db", "orders": "{}/orders/"}
COMMANDS: list[tuple[str, ...]] = [
    ("diff", "order-1", "--values"),
    ("diff", "order-2", "first..second", "--values"),
    ("verify",),
    ("doctor",),
    ("diagram",),
    ("diagram", "order-2"),
    ("watch", "order-1"),
]
FORMS = ("text", "json", "jsonl")


class Canary:
    """Leaves a directory behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def make_store(place: str, mark: Path) -> None:
    """A signed store of a finished run, a failed one, and a queued one, full of canaries."""
    cp = CheckpointFlow(place, name="orders", keep="all", secret="s" * 32, fsync=False)

    @cp.add_step()
    def first(state: State) -> None:
        state["canary"] = Canary(mark)
        state["code"] = eval("lambda: 1")  # noqa: S307

    @cp.add_step()
    def second(state: State) -> None:
        state["n"] += 1
        if state["fails"]:
            raise ValueError(state)

    for number in (1, 2):
        with suppress(ValueError):
            cp.run({"n": 0, "fails": number == 2}, run_id=f"order-{number}")
    cp.submit({"n": 0}, run_id="order-3")
    cp.handler.close()
    if mark.exists():
        mark.rmdir()  # A value of a new type is loaded back once when it is stored.


def seen(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of every file, and times of directories."""
    found: dict[str, tuple[bytes, int, int]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.stat()
        content = b"" if path.is_dir() else path.read_bytes()
        found[str(path)] = (content, status.st_mode, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("place", PLACES)
def test_nothing_changes(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in every form leaves all files as they are, and no canary acts."""
    monkeypatch.setattr(_file_systems, "_TABLE", str(tmp_path / "missing"))
    store, mark = tmp_path / "store", tmp_path / "mark"
    store.mkdir()
    make_store(PLACES[place].format(store), mark)
    for path in sorted(store.rglob("*")):  # A database that has just changed is not settled yet.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    before = seen(store)
    files = [("inspect", str(path)) for path in sorted(store.rglob("*.pkl"))]
    for name, *words in [*COMMANDS, *files]:
        target = [] if name == "inspect" else [str(store / place)]
        for form in FORMS:
            done = invoke(name, *target, *words, "--output", form)
            assert done.code in {0, 1, 2}
            assert (done.code == 1) == (name == "doctor")
            assert (done.code == 2) == ((name, form) == ("watch", "json"))
            assert "\x1b" not in done.out + done.err
    assert seen(store) == before
    assert not mark.exists()
