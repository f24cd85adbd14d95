"""Lists of runs: their contents, their order, their pages. No state is read for them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, active_run, ids, listed, sql
from support import NAMES, Runner, State

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


def leave_one_of_each(flows: Runs) -> CheckpointFlow:
    """Leave a run of each final status, named by it, in that order."""
    cp = flows.flow()
    cp.run({}, run_id="stopped", until="a")
    faults = {"failed": ValueError("it is broken"), "cancelled": asyncio.CancelledError()}
    for status, error in faults.items():
        flows.faults["step b"] = error
        with suppress(ValueError, asyncio.CancelledError):
            cp.run({}, run_id=status)
    flows.faults.clear()
    cp.run({}, run_id="finished")
    return cp


def test_statuses(runs: Runs, runner: Runner) -> None:
    """A list shows the runs of one status, of several, or all, newest start first."""
    cp = leave_one_of_each(runs)
    assert listed(runner, cp) == STATUSES[::-1]
    for status in STATUSES:
        assert listed(runner, cp, status) == [status]
        assert listed(runner, cp, status=[status]) == [status]
    assert listed(runner, cp, "running") == []
    for several in (("failed", "stopped"), {"failed", "stopped"}, frozenset({"stopped", "failed"})):
        assert listed(runner, cp, several) == ["failed", "stopped"]


def test_fields_of_a_header(runs: Runs, runner: Runner) -> None:
    """A list shows the position of each run, and its failure."""
    cp = leave_one_of_each(runs)
    (header,) = runner.do(cp, "runs", "failed")
    assert (header.run_id, header.position, header.steps) == ("failed", 1, NAMES)
    assert (header.failure.step, header.failure.message) == ("b", "it is broken")
    assert (header.number, header.owner, header.status) == (1, None, "failed")
    assert header == cp.handler.header("failed")


def test_order_is_that_of_the_beginnings(runs: Runs, runner: Runner) -> None:
    """A resumed run keeps its position in the list. A run that starts afresh comes first."""
    cp = runs.flow()
    for run_id in ("one", "two", "three"):
        runner(cp, {}, run_id=run_id, until="a")
    runner(cp, run_id="one")
    assert listed(runner, cp) == ["three", "two", "one"]
    runner(cp, run_id="one", until="a")
    assert listed(runner, cp) == ["one", "three", "two"]


def test_pages(runs: Runs, runner: Runner) -> None:
    """The pages show each of 250 runs once, in the order of the whole list."""
    cp = runs.empty_flow()
    cp.add_step(name="a", thread=False)(lambda state: None)

    async def start_all() -> None:
        await asyncio.gather(*(cp.arun({}, run_id=f"run-{number}") for number in range(250)))

    asyncio.run(start_all())
    whole, found, after = runner.do(cp, "runs"), list[Header](), None
    while page := runner.do(cp, "runs", limit=40, after=after):
        assert len(page) == min(40, 250 - len(found))
        found += page
        after = page[-1]
    assert ids(found) == ids(whole)
    assert len({header.run_id for header in found}) == 250
    assert listed(runner, cp, limit=1_000) == ids(whole)


def test_pages_of_runs_that_began_together(runs: Runs, runner: Runner) -> None:
    """Runs that started at the same moment are all shown, for any ids."""
    cp = runs.flow()
    names = ["a", "B", "é", "\ud800", "😀", "\uffff", "10", "9", "a\0", "a\0b", None]
    header = Header(flow=cp.name, position=1, started_at=1_000.0)
    for run_id in names:
        write_with(cp, run_id, header)
    found, after = list[Header](), None
    while page := runner.do(cp, "runs", limit=1, after=after):
        found += page
        after = page[-1]
    assert len(found) == len(names)
    assert set(ids(found)) == set(names)
    assert ids(found) == listed(runner, cp)


def write_with(cp: CheckpointFlow, run_id: str | None, header: Header) -> None:
    """Store a state under a given header."""
    handler = cp.handler
    own = replace(header, run_id=run_id, status="stopped", steps=NAMES)
    with handler.locked(run_id) as lock:
        handler.replace(
            run_id, lambda target: handler.codec.write(own, {}, None, target), lock=lock
        )


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_owner_is_named_during_a_run(kind: str, tmp_path: Path, runner: Runner) -> None:
    """A list names the process of a running run, and no owner after its end."""
    flows = Runs.at(tmp_path, kind)
    cp = flows.flow()
    runner(cp, {}, run_id="ended")
    with active_run(flows.empty_flow(), "busy", {}):
        found = runner.do(cp, "runs")
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        assert [(one.run_id, one.owner) for one in found] == [("busy", owner), ("ended", None)]
        assert (found[0].status, listed(runner, cp, "running")) == ("running", ["busy"])
    assert [one.owner for one in runner.do(cp, "runs")] == [None, None]


def test_no_state_is_read(database: Runs, runner: Runner) -> None:
    """A list of a database reads no payload: garbage in all payloads changes nothing."""
    cp = leave_one_of_each(database)
    before = runner.do(cp, "runs")
    sql(database.path, "UPDATE runs SET payload = zeroblob(length(payload))")
    assert runner.do(cp, "runs") == before


def corrupt(flows: Runs, run_id: str) -> None:
    """Flip a bit in the footer of a run."""
    if flows.kind == "sqlite":
        (footer,) = sql(flows.path, "SELECT footer FROM runs WHERE run_id = ?", run_id)[0]
        corrupted = bytes([footer[0] ^ 1]) + footer[1:]
        sql(flows.path, "UPDATE runs SET footer = ? WHERE run_id = ?", corrupted, run_id)
    else:
        file = flows.path / f"{run_id}.pkl"
        content = file.read_bytes()
        file.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])


def test_damaged_ones_are_left_out(
    durable_runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged run is left out with a warning that names it, and all others are listed."""
    cp = leave_one_of_each(durable_runs)
    corrupt(durable_runs, "failed")
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        assert listed(runner, cp) == ["finished", "cancelled", "stopped"]
    (record,) = caplog.records
    assert "left out" in record.getMessage()
    assert "failed" in record.getMessage()


def test_damaged_ones_do_not_end_a_list(durable_runs: Runs, runner: Runner) -> None:
    """Damaged runs do not shorten a page, so that only an empty page is the end."""
    cp = leave_one_of_each(durable_runs)
    for run_id in ("finished", "cancelled"):
        corrupt(durable_runs, run_id)
    assert listed(runner, cp, limit=1) == ["failed"]
    assert listed(runner, cp, limit=2) == ["failed", "stopped"]


def test_strange_files_are_no_runs(tmp_path: Path, runner: Runner) -> None:
    """Files of other names, directories and copies under another name are not listed as runs."""
    flows = Runs.at(tmp_path, "directory")
    cp = leave_one_of_each(flows)
    copied = (flows.path / "failed.pkl").read_bytes()
    (flows.path / "copy.pkl").write_bytes(copied)
    (flows.path / "failed.pkl.bak").write_bytes(copied)
    (flows.path / "folder.pkl").mkdir()
    (flows.path / "empty.pkl").touch()
    assert listed(runner, cp) == STATUSES[::-1]


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
    query: dict[str, Any], error: type[Exception], database: Runs, runner: Runner
) -> None:
    """An invalid argument is refused by name, and never lists all runs."""
    cp = database.flow()
    with pytest.raises(error, match=next(iter(query))):
        runner.do(cp, "runs", **query)


class Own:
    """A handler of one dict."""

    def __init__(self, path: object) -> None:
        self.stored: State = {}

    def read(self) -> State:
        """Return the stored dict."""
        return dict(self.stored)

    def write(self, state: State) -> None:
        """Store the dict."""
        self.stored = state


@pytest.mark.parametrize(
    ("method", "args"),
    [("runs", ()), ("patch", ({},)), ("delete", ("x",)), ("prune", (0,))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_handlers_of_dicts_have_one_run(method: str, args: tuple[Any, ...], runner: Runner) -> None:
    """A user's own handler keeps one run. Methods for many runs refuse, and name other handlers."""
    cp = CheckpointFlow("x", handler=Own)
    with pytest.raises(InvalidValueError, match="'sqlite'"):
        runner.do(cp, method, *args)
    with pytest.raises(InvalidValueError, match="Own keeps one state"):
        cp.aresume_all()
    cp.handler.write({"n": 1, "checkpoint_index": 2})
    assert runner.do(cp, "read")["n"] == 1


def test_file_of_one_run_is_a_list_of_one(runner: Runner, tmp_path: Path) -> None:
    """The run of a single file is listed as the run without an id, for every writer of the file."""
    path = tmp_path / "checkpoint.pkl"
    LocalStateHandler(path).write({"n": 1, "checkpoint_index": 1})
    (header,) = runner.do(CheckpointFlow(path), "runs")
    assert (header.run_id, header.position, header.status) == (None, 1, "stopped")
