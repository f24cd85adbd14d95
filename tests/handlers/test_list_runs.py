"""Lists of runs: which, in what order, page by page, and never a state read for them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from many import Runs, busy, ids, listed, sql
from support import NAMES, Door, State

from aiocheckpoint import (
    CheckpointFlow,
    Header,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
)

if TYPE_CHECKING:
    from pathlib import Path

STATUSES = ["stopped", "failed", "cancelled", "finished"]


def leave_one_of_each(lab: Runs) -> CheckpointFlow:
    """Have a run of each status that a run can end with, named by it, in that order."""
    cp = lab.flow()
    cp.run({}, run_id="stopped", until="a")
    faults = {"failed": ValueError("it is broken"), "cancelled": asyncio.CancelledError()}
    for status, error in faults.items():
        lab.faults["step b"] = error
        with suppress(ValueError, asyncio.CancelledError):
            cp.run({}, run_id=status)
    lab.faults.clear()
    cp.run({}, run_id="finished")
    return cp


def test_statuses(runs: Runs, door: Door) -> None:
    """A list shows those of one status, of several, or all; the one that began last first."""
    cp = leave_one_of_each(runs)
    assert listed(door, cp) == STATUSES[::-1]
    for status in STATUSES:
        assert listed(door, cp, status) == [status]
        assert listed(door, cp, status=[status]) == [status]
    assert listed(door, cp, "running") == []
    for several in (("failed", "stopped"), {"failed", "stopped"}, frozenset({"stopped", "failed"})):
        assert listed(door, cp, several) == ["failed", "stopped"]


def test_what_a_header_tells(runs: Runs, door: Door) -> None:
    """A list tells how far each run is, and what broke it."""
    cp = leave_one_of_each(runs)
    (header,) = door.do(cp, "runs", "failed")
    assert (header.run_id, header.position, header.steps) == ("failed", 1, NAMES)
    assert (header.failure.step, header.failure.message) == ("b", "it is broken")
    assert (header.number, header.owner, header.status) == (1, None, "failed")
    assert header == cp.handler.header("failed")


def test_order_is_that_of_the_beginnings(runs: Runs, door: Door) -> None:
    """A run that goes on keeps its place; one that begins anew comes first."""
    cp = runs.flow()
    for run_id in ("one", "two", "three"):
        door(cp, {}, run_id=run_id, until="a")
    door(cp, run_id="one")
    assert listed(door, cp) == ["three", "two", "one"]
    door(cp, run_id="one", until="a")
    assert listed(door, cp) == ["one", "three", "two"]


def test_pages(runs: Runs, door: Door) -> None:
    """Page by page, each of 250 runs is shown once, in the order of the whole list."""
    cp = runs.bare()
    cp.add_step(name="a", thread=False)(lambda state: None)

    async def start_all() -> None:
        await asyncio.gather(*(cp.arun({}, run_id=f"run-{number}") for number in range(250)))

    asyncio.run(start_all())
    whole, found, after = door.do(cp, "runs"), list[Header](), None
    while page := door.do(cp, "runs", limit=40, after=after):
        assert len(page) == min(40, 250 - len(found))
        found += page
        after = page[-1]
    assert ids(found) == ids(whole)
    assert len({header.run_id for header in found}) == 250
    assert listed(door, cp, limit=1_000) == ids(whole)


def test_pages_of_runs_that_began_together(runs: Runs, door: Door) -> None:
    """Runs that began at the same moment are all shown, whatever their ids are made of."""
    cp = runs.flow()
    names = ["a", "B", "é", "\ud800", "😀", "\uffff", "10", "9", "a\0", "a\0b", None]
    header = Header(flow=cp.name, position=1, started_at=1_000.0)
    for run_id in names:
        write_with(cp, run_id, header)
    found, after = list[Header](), None
    while page := door.do(cp, "runs", limit=1, after=after):
        found += page
        after = page[-1]
    assert len(found) == len(names)
    assert set(ids(found)) == set(names)
    assert ids(found) == listed(door, cp)


def write_with(cp: CheckpointFlow, run_id: str | None, header: Header) -> None:
    """Store a state under a header of one's own."""
    handler = cp.handler
    own = replace(header, run_id=run_id, status="stopped", steps=NAMES)
    with handler.locked(run_id) as lock:
        handler.replace(
            run_id, lambda target: handler.codec.write(own, {}, None, target), lock=lock
        )


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_owner_is_named_while_under_way(kind: str, tmp_path: Path, door: Door) -> None:
    """A list names the process that a run is under way in, and nobody when it has ended."""
    lab = Runs.at(tmp_path, kind)
    cp = lab.flow()
    door(cp, {}, run_id="ended")
    with busy(lab.bare(), "busy", {}):
        found = door.do(cp, "runs")
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        assert [(one.run_id, one.owner) for one in found] == [("busy", owner), ("ended", None)]
        assert (found[0].status, listed(door, cp, "running")) == ("running", ["busy"])
    assert [one.owner for one in door.do(cp, "runs")] == [None, None]


def test_no_state_is_read(database: Runs, door: Door) -> None:
    """A list of a database needs no payload: with garbage in all of them it is the same."""
    cp = leave_one_of_each(database)
    before = door.do(cp, "runs")
    sql(database.path, "UPDATE runs SET payload = zeroblob(length(payload))")
    assert door.do(cp, "runs") == before


def spoil(lab: Runs, run_id: str) -> None:
    """Turn a bit in the footer of a run."""
    if lab.kind == "sqlite":
        (footer,) = sql(lab.path, "SELECT footer FROM runs WHERE run_id = ?", run_id)[0]
        spoilt = bytes([footer[0] ^ 1]) + footer[1:]
        sql(lab.path, "UPDATE runs SET footer = ? WHERE run_id = ?", spoilt, run_id)
    else:
        file = lab.path / f"{run_id}.pkl"
        content = file.read_bytes()
        file.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])


def test_damaged_ones_are_left_out(
    lasting: Runs, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged run is left out with a warning that names it, and all others are listed."""
    cp = leave_one_of_each(lasting)
    spoil(lasting, "failed")
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        assert listed(door, cp) == ["finished", "cancelled", "stopped"]
    (record,) = caplog.records
    assert "left out" in record.getMessage()
    assert "failed" in record.getMessage()


def test_damaged_ones_do_not_end_a_list(lasting: Runs, door: Door) -> None:
    """A page is full although damaged runs lie in its way: an empty page is the end."""
    cp = leave_one_of_each(lasting)
    for run_id in ("finished", "cancelled"):
        spoil(lasting, run_id)
    assert listed(door, cp, limit=1) == ["failed"]
    assert listed(door, cp, limit=2) == ["failed", "stopped"]


def test_strange_files_are_no_runs(tmp_path: Path, door: Door) -> None:
    """Files of other names, directories and copies under another name are not listed as runs."""
    lab = Runs.at(tmp_path, "directory")
    cp = leave_one_of_each(lab)
    copied = (lab.path / "failed.pkl").read_bytes()
    (lab.path / "copy.pkl").write_bytes(copied)
    (lab.path / "failed.pkl.bak").write_bytes(copied)
    (lab.path / "folder.pkl").mkdir()
    (lab.path / "empty.pkl").touch()
    assert listed(door, cp) == STATUSES[::-1]


NONSENSE: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({"status": status}, InvalidValueError) for status in ("done", "", [], ["failed", "x"])),
    *(({"status": status}, InvalidTypeError) for status in (3, b"failed", {"failed": 1}, True)),
    *(({"limit": limit}, InvalidValueError) for limit in (0, -1)),
    *(({"limit": limit}, InvalidTypeError) for limit in (True, 1.5, "x")),
    *(({"after": after}, InvalidTypeError) for after in ("x", 3, ["x"])),
    ({"status": [["failed"]]}, InvalidValueError),
]


@pytest.mark.parametrize(("query", "error"), NONSENSE, ids=repr)
def test_nonsense(
    query: dict[str, Any], error: type[Exception], database: Runs, door: Door
) -> None:
    """What cannot be meant is refused with the name of the argument, and never shows all."""
    cp = database.flow()
    with pytest.raises(error, match=next(iter(query))):
        door.do(cp, "runs", **query)


class Own:
    """A handler of dicts."""

    def __init__(self, path: object) -> None:
        self.stored: State = {}

    def read(self) -> State:
        """Give what is stored."""
        return dict(self.stored)

    def write(self, state: State) -> None:
        """Store."""
        self.stored = state


@pytest.mark.parametrize(
    ("method", "args"),
    [("runs", ()), ("patch", (None, {})), ("delete", ("x",)), ("prune", (0,))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_handlers_of_dicts_have_one_run(method: str, args: tuple[Any, ...], door: Door) -> None:
    """A user's own handler keeps one state: what is for many runs says so and names others."""
    cp = CheckpointFlow("x", handler=Own)
    with pytest.raises(InvalidValueError, match="'sqlite'"):
        door.do(cp, method, *args)
    with pytest.raises(InvalidValueError, match="Own keeps one state"):
        cp.aresume_all()
    cp.handler.write({"n": 1, "checkpoint_index": 2})
    assert door.do(cp, "read")["n"] == 1


def test_file_of_one_run_is_a_list_of_one(door: Door, tmp_path: Path) -> None:
    """The run of a single file is listed as the run without an id, whatever wrote it."""
    path = tmp_path / "checkpoint.pkl"
    LocalStateHandler(path).write({"n": 1, "checkpoint_index": 1})
    (header,) = door.do(CheckpointFlow(path), "runs")
    assert (header.run_id, header.position, header.status) == (None, 1, "stopped")
