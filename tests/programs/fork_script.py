"""A program that forks while runs of a database are in progress: `fork_script.py PATH`."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow, LeaseLostError, RunInProgressError

STEPS = ("a", "b", "c")
opened: list[sqlite3.Connection] = []


def record_connections() -> None:
    """Record each connection that is made from now on."""
    real = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = real(*args, **kwargs)
        opened.append(connection)
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]


def check_inherited(inherited: list[sqlite3.Connection]) -> None:
    """Check that the child has inherited no open connection of its parent.

    SQLite allows neither its use nor its closing (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """
    assert len(inherited) >= 2, "one connection writes, and one reads"
    for connection in inherited:
        try:
            connection.total_changes  # noqa: B018 - a closed connection raises
        except sqlite3.ProgrammingError:
            continue
        raise AssertionError("a connection is open in the child")


def fork(cp: CheckpointFlow) -> None:
    """Let a child use the very flow whose run is in progress in its parent, which waits for it."""
    cp.header("of the parent")  # so that the connection for reading is open too
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check_inherited(opened)
            code = be_child(cp)
        except AssertionError as error:
            sys.stderr.write(f"{error!r}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status


def be_child(cp: CheckpointFlow) -> int:
    """Execute a run of the child, and check that the parent still owns its own; return 0 if so."""
    done: list[Any] = [cp.run({"trail": []}, run_id="of the child")["trail"]]
    assert cp.read("of the child")["trail"] == [*STEPS]
    try:
        cp.run({"trail": []}, run_id="of the parent")
    except RunInProgressError as error:
        done.append(error.pid)
    return 0 if done == [[*STEPS], os.getppid()] else 2


def main(path: str) -> None:
    """Fork in a step, and let the child leave by an exception through the run that it inherited."""
    record_connections()
    cp = CheckpointFlow(path, "sqlite")
    parent = os.getpid()
    for name in STEPS:

        def step(state: dict[str, Any], name: str = name) -> None:
            state["trail"] = [*state["trail"], name]
            if name == "b" and state.get("forks") and os.getpid() == parent:
                fork(cp)
                go_on_in_child()

        cp.add_step(name=name)(step)
    try:
        state = cp.run({"trail": [], "forks": True}, run_id="of the parent")
    except LeaseLostError:
        os._exit(0 if os.getpid() != parent else 3)
    assert os.getpid() == parent, "the child wrote with a lease that it inherited"
    assert state["trail"] == [*STEPS]


def go_on_in_child() -> None:
    """Fork, and let the child continue the run that it inherited before its parent does."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status


if __name__ == "__main__":
    main(sys.argv[1])
