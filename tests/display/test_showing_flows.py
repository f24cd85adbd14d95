"""Showing a flow, and `show()` of a stored run: bounded, without errors, and without the code."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from card_checks import checked_card
from forged_snapshots import Canary

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    RunNotFoundError,
    StorageError,
)
from aiocheckpoint.look import _glance
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from pathlib import Path

by_place = pytest.mark.parametrize("place", ["one.pkl", "runs/", "runs.db"])
KEY = "hunter2-hunter2-hunter2-hunter2-"


def flow_in(path: Path, place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of two steps in a place, named by its path."""
    kind = "sqlite" if place.endswith(".db") else "local"
    cp = CheckpointFlow(f"{path}/{place}", kind, name="shop", fsync=False, **options)
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    return cp


def shown(cp: CheckpointFlow) -> str:
    """Give the text of a flow's card, of which its own text has the last line."""
    card = checked_card(cp._repr_html_())
    assert str(cp).split("\n")[-1] in card
    return card


@by_place
def test_stored_runs_are_counted(place: str, tmp_path: Path) -> None:
    """Without a run, with one, and with several, the card says what is stored."""
    cp = flow_in(tmp_path, place)
    assert "nothing is stored yet" in shown(cp)
    assert list(tmp_path.iterdir()) == []
    cp.run({"n": 1})
    assert "stored run: ✓ finished" in shown(cp)
    cp.run({"n": 1}, run_id="x", until="a")
    assert "stored runs: 1 " in shown(cp)
    assert "the newest: ■ stopped at 2 of 2, b" in shown(cp)
    cp.handler.close() if place.endswith(".db") else None
    assert "stored runs: 1 " in shown(cp)


@by_place
def test_damaged_and_lost_stores(place: str, tmp_path: Path) -> None:
    """A store that is damaged, signed otherwise, or gone is said in words."""
    cp = flow_in(tmp_path, place)
    cp.run({"n": 1})
    cp.handler.close() if place.endswith(".db") else None
    other = flow_in(tmp_path, place, secret=KEY)
    card = shown(other)
    assert "damaged" in card or "finished" in card
    assert "signed" in card
    assert KEY not in f"{card}{other}{other._repr_html_()}"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"no snapshot at all" * 400)
    card = shown(cp)
    assert "damaged" in card or "cannot be read" in card
    for file in sorted(tmp_path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    assert "nothing is stored yet" in shown(cp)


def test_directory_of_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a directory, so many headers are read, and the card says that there are more."""
    monkeypatch.setattr(_glance, "_MOST_FILES", 3)
    cp = flow_in(tmp_path, "runs/")
    for number in range(5):
        cp.run({"n": number}, run_id=f"r{number}")
    assert "3 ✓ finished · more, as only 3 were counted" in shown(cp)


def test_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs holds up the card for a moment, and its thread nothing at all."""
    cp = CheckpointFlow(tmp_path / "x", MemoryStateHandler(), name="x")
    goes_on: list[bool] = []

    def exists() -> bool:
        while not goes_on:
            time.sleep(0.01)
        return True

    monkeypatch.setattr(cp.handler, "exists", exists)
    monkeypatch.setattr("aiocheckpoint._runs.shown_flow._SECONDS", 0.02)
    try:
        assert "The store does not answer." in shown(cp)
    finally:
        goes_on.append(True)


class Rude:
    """A user's own handler, of which nothing may be called to show a flow."""

    def __init__(self, path: str) -> None:
        """Keep nothing."""

    def read(self) -> dict[str, Any]:
        """Fail."""
        raise AssertionError

    def write(self, state: dict[str, Any]) -> None:
        """Fail."""
        raise AssertionError

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Fail as no attribute does."""
        raise ZeroDivisionError(name)


def test_handler_of_dicts() -> None:
    """A handler of a user's own is not read. Its flow shows the steps."""
    cp = CheckpointFlow("x", Rude)
    cp.add_step(name="a")(lambda state: None)
    assert "1 step · rude" in checked_card(cp._repr_html_())
    assert "1 step · rude" in str(cp)
    with pytest.raises(InvalidValueError, match="keeps one state"):
        cp.show()


class Early(CheckpointFlow):
    """A flow that shows itself before it is made."""

    def __init__(self, path: str) -> None:
        """Show first."""
        self.early = (str(self), repr(self), self._repr_html_())
        super().__init__(path)


def test_subclass_shows_itself_early(tmp_path: Path) -> None:
    """Before `super().__init__` there is no card, and no error."""
    text, plain, card = Early(str(tmp_path / "a.pkl")).early
    assert text == plain
    assert card is None


@by_place
async def test_show(place: str, tmp_path: Path) -> None:
    """It gives the stored run with sizes, with values when asked, and unpickles nothing."""
    cp = flow_in(tmp_path, place, secret=KEY)
    with pytest.raises(RunNotFoundError, match="no run to show"):
        cp.show("r")
    await cp.arun({"n": 41, "canary": Canary(tmp_path / "mark")}, run_id="r", until="a")
    (tmp_path / "mark").unlink(missing_ok=True)
    run = await cp.ashow("r")
    assert run == cp.show("r")
    assert run.verified
    assert run.keys is None
    assert run.sizes is not None
    assert run.sizes.keys() == {"n", "canary"}
    assert "41" not in checked_card(run._repr_html_())
    with_values = cp.show("r", values=True)
    assert "n int" in (card := checked_card(with_values._repr_html_()))
    assert " 41 " in card
    assert not (tmp_path / "mark").exists()
    with pytest.raises(RunNotFoundError):
        await cp.ashow("nobody")
    with pytest.raises(InvalidTypeError):
        cp.show(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError):
        cp.show("r", values=1)  # type: ignore[arg-type]
    unsigned = flow_in(tmp_path, place, secret=KEY[::-1])
    assert unsigned.show("r").status == "damaged"


def test_show_of_no_store(tmp_path: Path) -> None:
    """A path at which somebody else's file is, is no store."""
    (tmp_path / "runs.db").write_bytes(b"SQLite format 3\0" + bytes(4_000))
    with pytest.raises(StorageError):
        flow_in(tmp_path, "runs.db").show("r")


@pytest.mark.leaves_files  # The lock of a killed run is cleared by its next owner.
@pytest.mark.parametrize("place", ["runs/", "runs.db"])
def test_run_whose_process_is_gone(place: str, tmp_path: Path) -> None:
    """The card of its flow, lists and its header say so. Older snapshots do not."""
    kind = "sqlite" if place.endswith(".db") else "local"
    program = f"""
import os
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow({f"{tmp_path}/{place}"!r}, {kind!r}, name="shop", keep="all")
cp.add_step(name="a")(lambda state: None)
cp.add_step(name="b")(lambda state: os._exit(1))
cp.run({{"n": 1}}, run_id="x")
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 1
    cp = flow_in(tmp_path, place, keep="all")
    header = cp.header("x")
    assert header is not None
    for text in (shown(cp), str(cp.runs()), str(header), checked_card(header._repr_html_())):
        assert "no process runs it" in text.lower()
        assert " ago (" in text
    older = cp.history("x")[-1]
    assert "process" not in str(older)
