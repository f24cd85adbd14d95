"""A store of simulated processes, each of which can be killed alone, as the machines use it."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import simulated_processes
from simulated_processes import handler_apart, looking
from stepped_runs import WatchedSqlite

from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler

if TYPE_CHECKING:
    from aiocheckpoint.handlers.sqlite import SqliteStateHandler

AnyHandler = TypeVar("AnyHandler", bound=LeasingHandler[Any])


class OwnedRow(NamedTuple):
    """A run as the store has it.

    Attributes:
        run_id: The run.
        row: Its row.
        token: The token of its owner, or 0.
        owner: Its owner.
        is_ending: Whether somebody has asked for its end.
    """

    run_id: str
    row: int
    token: int
    owner: str | None
    is_ending: bool


class SimulatedStore(ABC, Generic[AnyHandler]):
    """The store. A handler of its own stands for each process."""

    @abstractmethod
    def start(self, **options: Any) -> AnyHandler:  # noqa: ANN401 (passed on as is)
        """Start a process."""

    @abstractmethod
    def kill(self, handler: AnyHandler) -> None:
        """End a process as SIGKILL would."""

    @abstractmethod
    def suspend(self, handler: AnyHandler) -> None:
        """Make a process count as gone, as one that was stopped for its lease, until it wakes."""

    @abstractmethod
    def delay_heartbeat(self, handler: AnyHandler) -> None:
        """Wake a process, whose last heartbeat was long ago."""

    @abstractmethod
    def look_at_owners(self, handler: AnyHandler) -> None:
        """Let a process look at all others, and free the runs of those that are gone."""

    @abstractmethod
    def rows(self) -> list[OwnedRow]:
        """Read all runs."""

    @abstractmethod
    def end(self) -> None:
        """Delete all of it."""

    def disconnect(self, handler: AnyHandler) -> None:
        """Make a process's store refuse all requests from now on."""
        simulated_processes.disconnect(handler)

    def shut_down(self, handler: AnyHandler) -> None:
        """End a process as an idle one ends."""
        simulated_processes.shut_down(handler)


class SimulatedDatabase(SimulatedStore["SqliteStateHandler"]):
    """A database of SQLite."""

    def __init__(self) -> None:
        """Make its folder."""
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name, "runs.db")

    def start(self, **options: Any) -> SqliteStateHandler:  # noqa: ANN401 (passed on as is)
        """Start a process."""
        return handler_apart(self._path, WatchedSqlite, fsync=False, **options)

    def kill(self, handler: SqliteStateHandler) -> None:
        """End a process as SIGKILL would."""
        simulated_processes.kill(handler)

    def suspend(self, handler: SqliteStateHandler) -> None:
        """Make a process count as gone."""
        simulated_processes.suspend(handler)

    def delay_heartbeat(self, handler: SqliteStateHandler) -> None:
        """Wake a process, whose last heartbeat was long ago."""
        simulated_processes.delay_heartbeat(handler)

    def look_at_owners(self, handler: SqliteStateHandler) -> None:
        """Let a process look at all others."""
        simulated_processes.look_at_owners(handler)

    def rows(self) -> list[OwnedRow]:
        """Read all runs."""
        query = "SELECT run_id, id, token, owner, ending IS NOT NULL FROM runs"
        with looking(self._path) as connection:
            return [OwnedRow._make(row) for row in connection.execute(query)]

    def end(self) -> None:
        """Delete the folder."""
        self._directory.cleanup()
