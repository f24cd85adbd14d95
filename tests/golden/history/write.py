"""Write the golden files of a released version: snapshots, databases and pickled records.

    cd tests && PYTHONPATH=RELEASE/src python3.11 - < golden/history/write.py

Run once for each release, with its own library in place of RELEASE, and add the folder. Read from
its standard input the script has no path, which would be in the tracebacks of failures. An argument
is the folder for the folders of versions. The system needs `fork`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import sqlite3
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden.history.describing import described

import aiocheckpoint
from aiocheckpoint import CheckpointFlow, Header, errors, events

VERSION = tuple(map(int, aiocheckpoint.__version__.split(".")[:2]))
FLOW = "golden"
STEPS = ("collect", "clean", "count", "report")
LARGE = tuple(f"s{number}" for number in range(150))
SECRET = "a secret that everybody may know"  # noqa: S105
RUN_IDS = ("order-1", "Order 2/ä", "..")
UPDATE = {"approved": True}
PROTOCOLS = (2, 5)
ENDED = (errors.RunTerminatedError,) if VERSION >= (0, 6) else (ValueError,)

State = dict[str, Any]


def make_state() -> State:
    """Make a state of plain data, which `ast.literal_eval` reads."""
    return {
        "done": [],
        "rows": [],
        "numbers": [1, -(2**70), 1.5, None, True, 1j],
        "texts": ["ä😀", b"bytes"],
        "nested": {"pair": (1, {2}), 3: "three"},
    }


@dataclass(frozen=True)
class Place:
    """The store of a flow's runs.

    Attributes:
        path: Relative to the folder of the version.
        flow: Name of the flow.
        handler: "local" or "sqlite".
        options: The options of the flow, as JSON has them.
        steps: Names of its steps.
    """

    path: str
    flow: str = FLOW
    handler: str = "local"
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: tuple[str, ...] = STEPS

    def make_flow(self, folder: Path, ends: dict[str, str]) -> CheckpointFlow:
        """Make a flow whose steps end as `ends` says, by name of the step."""
        path = f"{folder}/{self.path}"  # a slash at its end means a folder
        cp = CheckpointFlow(path, self.handler, name=self.flow, **self.options)
        for name in self.steps:
            add_step(cp, name, ends.get(name, ""))
        return cp


def add_step(cp: CheckpointFlow, name: str, end: str) -> None:
    """Add a step that adds its name to state and data, and ends as `end` says."""

    def step(state: State, data: State) -> None:
        state["done"].append(name)
        data["rows"].append(name)
        state["rows"] = list(data["rows"])
        if end == "running":
            os._exit(1)
        if end == "failed":
            raise ValueError(f"no {name} today")
        if end == "cancelled":
            raise asyncio.CancelledError
        if end == "paused":
            raise aiocheckpoint.Pause(f"approval of {name}")
        if end == "terminated":
            raise aiocheckpoint.Terminate(f"nobody wants {name}")

    cp.add_step(load=lambda state: {"rows": ["loaded"]}, name=name)(step)


@dataclass
class Writer:
    """Runs flows in a folder, and notes the states and results that tests must find.

    Attributes:
        folder: That of the version.
        runs: The notes, a JSON object for each run.
    """

    folder: Path
    runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def run(
        self,
        place: Place,
        status: str,
        at: str = "count",
        run_id: str | None = None,
        held: State | None = None,
    ) -> Header:
        """Run a flow until a step, where it ends with a status. A finished run has no such step."""
        held = held or {}
        cp = place.make_flow(self.folder, {at: status})
        state = {**make_state(), **held}
        done = place.steps
        if status != "finished":
            done = place.steps[: 0 if status == "queued" else place.steps.index(at)]
        arguments: dict[str, Any] = {} if run_id is None else {"run_id": run_id}
        if status == "stopped":
            arguments["until"] = done[-1]
        if status == "running":
            run_and_die(cp, state, arguments)
            remove_locks(self.folder)  # else its header tells that the run was killed
        elif status == "queued":
            cp.submit(state, **arguments)
        else:
            with contextlib.suppress(ValueError, asyncio.CancelledError, *ENDED):
                cp.run(state, **arguments)
        header: Header = cp.handler.header(run_id)
        assert header.status == status, header
        note = self._note(place, header, done, held)
        if not held:
            assert repr(cp.handler.read(run_id)) == note["state"], cp.handler.read(run_id)
        if "keep" in place.options:
            older = [name for name in done if cp.plan(checkpoint=name, **arguments).kept]
            note["kept"] = older
        if place.handler == "sqlite":
            cp.handler.close()
        self.runs.append({**note, "run_id": run_id, "held": described(held)})
        return header

    def _note(
        self, place: Place, header: Header, done: tuple[str, ...], held: State
    ) -> dict[str, Any]:
        """Note the stored state of a run, the steps that are left, and the final state."""
        finished = done == place.steps
        rest = place.steps[len(done) :]
        with_data = place.options.get("keep_data", False) and not finished
        rows = ["loaded", *done] if done else []
        stored = {**make_state(), "done": list(done), "rows": rows}
        final = {**stored, "done": list(place.steps)}
        if not finished:
            final["rows"] = ["loaded", *(place.steps if with_data else rest)]
        if with_data:
            stored["checkpoint_data"] = {"rows": ["loaded", *done]}
        stored["checkpoint_index"] = 0 if finished else len(done)
        update = UPDATE if header.status == "paused" else {}
        return {
            "path": place.path,
            "flow": place.flow,
            "handler": place.handler,
            "options": place.options,
            "steps": place.steps,
            "header": described(header)["fields"],
            "state": repr(stored),
            "update": update,
            "ran": rest,
            "loaded": [] if with_data or finished else rest[:1],
            "final": repr({**final, **update}),
        }


def run_and_die(cp: CheckpointFlow, state: State, arguments: dict[str, Any]) -> None:
    """Run a flow in a child that dies in the middle of a step."""
    child = os.fork()
    if not child:
        try:
            cp.run(state, **arguments)
        finally:
            os._exit(0)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 1


def remove_locks(folder: Path) -> None:
    """Delete the lock files of owners that are gone. They name the host."""
    for lock in folder.rglob(".*.lock"):
        lock.unlink()


def statuses() -> list[str]:
    """Give the statuses that the version knows, in which runs end."""
    known = ["stopped", "running", "failed", "cancelled", "finished"]
    if VERSION >= (0, 4):
        known.append("paused")
    return known if VERSION < (0, 6) else [*known, "terminated"]


def write_files(writer: Writer) -> None:
    """Write runs in files: one alone, several beside each other, and in folders."""
    for status in statuses():
        writer.run(Place(f"{status}.snapshot"), status)
    for status in ("stopped", "finished"):
        place = Place(f"large-{status}.snapshot", steps=LARGE)
        writer.run(place, status, "s75")
    for run_id, status in zip(RUN_IDS, ("stopped", "failed", "finished"), strict=True):
        writer.run(Place("beside.snapshot"), status, run_id=run_id)
        if VERSION >= (0, 3):
            writer.run(Place("runs/"), status, run_id=run_id)
    if VERSION >= (0, 6):
        writer.run(Place("runs/"), "queued", run_id="order-2")
    if VERSION >= (0, 2):
        writer.run(Place("signed.snapshot", options={"secret": SECRET}), "failed")
        writer.run(Place("keep-3.snapshot", options={"keep": 3}), "failed", "report")
        writer.run(Place("keep-all.snapshot", options={"keep": "all"}), "stopped", "report")
    if VERSION >= (0, 4):
        writer.run(Place("data.snapshot", options={"keep_data": True}), "failed")
        writer.run(Place("data-finished.snapshot", options={"keep_data": True}), "finished")


def write_database(writer: Writer) -> None:
    """Write runs of several flows into one database."""
    for status in sorted(
        statuses(), reverse=True
    ):  # the owner of killed runs is released by later runs
        for number in (1, 2):
            place = Place("runs.db", handler="sqlite")
            writer.run(place, status, "report" if number == 2 else "clean", f"{status}-{number}")
    if VERSION >= (0, 6):
        writer.run(Place("runs.db", handler="sqlite"), "queued", run_id="queued-1")
    others: dict[str, dict[str, Any]] = {"kept": {"keep": "all"}, "signed": {"secret": SECRET}}
    if VERSION >= (0, 4):
        others["data"] = {"keep_data": True}
    for flow, options in others.items():
        writer.run(Place("runs.db", flow, "sqlite", options), "failed", "report", f"{flow}-1")
    writer.run(Place("runs.db", "alone", "sqlite"), "failed", "report")
    writer.run(Place("runs.db", "large", "sqlite", steps=LARGE), "stopped", "s75", "large-1")


def close_database(path: Path) -> None:
    """Make a database one small file that names no process and no host."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("owners", "runs WHERE owner IS NOT NULL"):
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []  # noqa: S608
        connection.execute("VACUUM")  # deleted rows of owners have the name of the host
    assert not list(path.parent.glob("*.db-*"))


def write_records(writer: Writer) -> list[dict[str, Any]]:
    """Write each public record as a pickle of two protocols, and some in a state; describe them."""
    from golden.history import records  # noqa: PLC0415 - earlier versions have not all of them

    failed = records_header(writer, "failed.snapshot")
    large = records_header(writer, "large-stopped.snapshot")
    made = records.make_records(failed, large)
    if VERSION >= (0, 6):
        from golden.history import records_060  # noqa: PLC0415 - for the same reason

        made |= records_060.make_records()
    if VERSION >= (0, 7):
        from golden.history import records_070  # noqa: PLC0415 - for the same reason

        made |= records_070.make_records(failed)
    kinds = {type(record) for record in made.values()}
    public = [getattr(errors, name) for name in errors.__all__ if not name.endswith("Warning")]
    public += [getattr(events, name) for name in events.__all__]
    assert {one for one in public if isinstance(one, type)} <= kinds
    with zipfile.ZipFile(writer.folder / "records.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, record in made.items():
            for protocol in PROTOCOLS:
                member = zipfile.ZipInfo(f"{name}.{protocol}.pickle")
                file.writestr(member, pickle.dumps(record, protocol), zipfile.ZIP_DEFLATED)
    writer.run(Place("records.snapshot"), "stopped", held=records.make_held(failed, large))
    return [{"name": name, **described(record)} for name, record in made.items()]


def records_header(writer: Writer, path: str) -> Header:
    """Read a header that was written."""
    header = aiocheckpoint.LocalStateHandler(writer.folder / path, flow=FLOW).header()
    assert header is not None
    return header


def in_lines(facts: dict[str, list[dict[str, Any]]]) -> str:
    """Format lists of facts as JSON, a fact a line."""
    lists: list[str] = []
    for name, several in facts.items():
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in several)
        lists.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(lists) + "\n}\n"


def main() -> None:
    """Write the folder of this version."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "golden/history")
    folder = place / aiocheckpoint.__version__
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    if VERSION >= (0, 3):
        (folder / "runs").mkdir()
    writer = Writer(folder)
    write_files(writer)
    records: list[dict[str, Any]] = []
    if VERSION >= (0, 3):
        write_database(writer)
        close_database(folder / "runs.db")
    if VERSION >= (0, 5):
        records = write_records(writer)
    remove_locks(folder)
    (folder / "expected.json").write_text(in_lines({"runs": writer.runs, "records": records}))


if __name__ == "__main__":
    main()
