"""The exit code of each error, and bad input on the command line."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from cli import COMMAND_LINE, clean_environment, invoke
from order_store import store_orders

from aiocheckpoint import errors
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.failures import code_of
from aiocheckpoint._cli.problems import CommandProblem, NeedsModuleTarget, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

CODES: dict[ExitCode, list[Exception]] = {
    ExitCode.USAGE: [
        UsageProblem("x"),
        NeedsModuleTarget("run", "orders.db"),
        errors.InvalidTypeError("x"),
        errors.InvalidValueError("x"),
        errors.SeveralFlowsError("orders.db", ("a", "b")),
        errors.UnknownHandlerError("redis", ["local"]),
        errors.MissingExtraError("--color always", "rich", None),
        errors.FlowDefinitionError("x"),
    ],
    ExitCode.NOT_FOUND: [
        errors.RunNotFoundError("orders.db"),
        errors.StorageError("orders.db", "x", errno=2),
    ],
    ExitCode.IN_PROGRESS: [
        errors.RunInProgressError("orders.db"),
        errors.LeaseLostError("orders.db"),
    ],
    ExitCode.DAMAGED: [
        errors.CorruptSnapshotError("orders.db", "x"),
        errors.ForeignFileError("orders.db", "x"),
        errors.UntrustedSnapshotError("orders.db", "x"),
        errors.IncompatibleSnapshotError("orders.db", "x"),
    ],
    ExitCode.REFUSED: [
        errors.FlowChangedError("orders.db", ["a"], ["b"], 1, change="x"),
        errors.PauseConflictError("orders.db", "x"),
        errors.RunStatusError("orders.db", "finished", "x"),
        errors.DrainingError("orders"),
        errors.StateConflictError("orders.db", "a", finished=True, step=None, raised=True),
    ],
    ExitCode.FAILED: [
        CommandProblem("x"),
        errors.StorageError("orders.db", "x", errno=13),
        errors.StorageError("orders.db", "x"),
        errors.NotDurableError("orders.db", "x"),
        errors.StoreUnreachableError("postgresql://db/orders", "x"),
        errors.StepTimeoutError("charge", "step", 1.0),
        ValueError("x"),
    ],
}
CASES = [(code, error) for code, found in CODES.items() for error in found]


@pytest.mark.parametrize(
    ("code", "error"), CASES, ids=[f"{type(error).__name__}-{code.name}" for code, error in CASES]
)
def test_code_of_an_error(code: ExitCode, error: Exception) -> None:
    """Each error has the code that `--help` documents."""
    assert code_of(error) is code


@pytest.mark.parametrize("command", ["flows", "runs", "count", "show"])
def test_no_such_flow(command: str, tmp_path: Path) -> None:
    """A flow that the store does not have is named, and so are those that it has."""
    store_orders(tmp_path)
    done = invoke(command, "orders.db", "--flow", "bills", cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "bills" in done.err or command == "show"
    assert command == "show" or "It has orders." in done.err


def test_file_that_is_no_store(tmp_path: Path) -> None:
    """Somebody's file is damaged as a store, and is not changed."""
    (tmp_path / "notes.txt").write_text("a list of things", encoding="utf-8")
    shown = invoke("show", "notes.txt", cwd=tmp_path)
    listed = invoke("runs", "notes.txt", cwd=tmp_path)
    assert (shown.code, shown.out) == (listed.code, listed.out) == (5, "")
    assert "is not a sound snapshot" in shown.err
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "a list of things"


@pytest.mark.parametrize("command", ["runs", "show"])
def test_device(command: str, tmp_path: Path) -> None:
    """What is no regular file is no store, and is not read."""
    os.mkfifo(tmp_path / "fifo")
    for place in ("fifo", "/dev/zero"):
        done = invoke(command, place, cwd=tmp_path)
        assert (done.code, done.out) == (1, "")
        assert "is no regular file" in done.err


def test_store_of_a_later_version(tmp_path: Path) -> None:
    """A database of a later release says so."""
    store_orders(tmp_path)
    connection = sqlite3.connect(tmp_path / "orders.db")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version + 1000}")
    connection.commit()
    connection.close()
    done = invoke("runs", "orders.db", cwd=tmp_path)
    assert (done.code, done.out) == (5, "")
    assert "later" in done.err


@pytest.mark.ordinary
def test_no_rights(tmp_path: Path) -> None:
    """A store that may not be read is named."""
    store_orders(tmp_path)
    (tmp_path / "orders.db").chmod(0)
    done = invoke("runs", "orders.db", cwd=tmp_path)
    (tmp_path / "orders.db").chmod(0o600)
    assert (done.code, done.out) == (1, "")
    assert "orders.db" in done.err


def test_foreign_database(tmp_path: Path) -> None:
    """A database of another program is named as that."""
    connection = sqlite3.connect(tmp_path / "music.db")
    connection.execute("CREATE TABLE songs (name)")
    connection.commit()
    connection.close()
    done = invoke("runs", "music.db", cwd=tmp_path)
    assert (done.code, done.out, "Traceback" in done.err) == (5, "", False)
    assert "is the database of another program" in done.err


def test_fault_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is none of ours comes with its traceback, for a report."""

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    store_orders(tmp_path)
    monkeypatch.setattr("aiocheckpoint._cli.commands.flows.list_flows", broken)
    done = invoke("flows", "orders.db", cwd=tmp_path)
    assert done.code == 1
    assert done.err.startswith("Traceback (most recent call last):\n")
    assert done.err.endswith("ZeroDivisionError\n")


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends a command quietly."""
    os.mkfifo(tmp_path / "slow")
    (tmp_path / "service.py").write_text(
        "print('importing', flush=True)\nopen('slow').read()\n", encoding="utf-8"
    )
    with subprocess.Popen(
        [*COMMAND_LINE, "runs", "service:cp"],
        cwd=tmp_path,
        env=clean_environment(None),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
