"""The libraries compared by many runs at once, and the promises of each.

The promises were read in the code of exactly these versions. The pragmas are read from the
library's own connection when it is measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from measure.environments import Environment, Worker
from measure.pairs import Contender, Goal
from workloads.crowd import PROBE, affordable

from peers import WORKERS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DBOS_ON_POSTGRES", "RIVALS", "RivalWorker"]

LONGEST = 60.0
"""Seconds that one sample of a rival may take."""

UNLINKED = (
    "a step that is committed survives the death of the process; a power cut just after it may "
    "take it back, since the removal of a rollback journal is not synced but by synchronous=EXTRA"
)


@dataclass(frozen=True, slots=True)
class Rival:
    """A library to compare with.

    Attributes:
        name: Its name.
        part: The part of it that is measured.
        packages: Packages to install from PyPI.
        script: The worker.
        goal: The limit of aiocheckpoint's rate by the rival's.
        promise: Its promise, in words.
        options: First arguments of its worker.
    """

    name: str
    part: str
    packages: tuple[str, ...]
    script: str
    goal: Goal
    promise: str
    options: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its packages and their versions, fit for the name of a file."""
        return "-".join(self.packages).replace("==", "-")

    @property
    def environment(self) -> Environment:
        """Where it is installed."""
        title = " and ".join(self.packages).replace("==", " ")
        return Environment(title, self.key, (self.packages,))


RIVALS = (
    Rival(
        "Burr",
        "AsyncSQLitePersister",
        ("apache-burr==0.42.0", "aiosqlite==0.22.1"),
        "burr_worker.py",
        Goal(4, at_least=True),
        "each step is one row of JSON, inserted in a thread through the one connection that all "
        f"applications share, so one commit may carry the rows of many; {UNLINKED}. Every step "
        "of every run stays stored. Its documentation has this persister for prototypes and tests.",
    ),
    Rival(
        "LangGraph",
        "AsyncSqliteSaver",
        ("langgraph==1.2.24", "langgraph-checkpoint-sqlite==3.1.2"),
        "langgraph_worker.py",
        Goal(30, at_least=True),
        'durability="sync": each step is stored by two transactions, its writes and then the '
        "checkpoint, in a thread through one connection under one asyncio lock; both survive a "
        "power cut, and each is whole or not there. Every step of every thread stays stored. Its "
        "documentation does not recommend this saver for production.",
    ),
    Rival(
        "DBOS",
        "system database on SQLite",
        ("dbos==3.4.0",),
        "dbos_worker.py",
        Goal(100, at_least=True),
        "each step's output is stored by a transaction of its own, in threads; the workflow's "
        f"input and result by others; {UNLINKED}. Every step of every workflow stays stored. Its "
        "documentation has SQLite for development and tests, and Postgres for production.",
    ),
)

DBOS_ON_POSTGRES = Rival(
    "DBOS",
    "system database on PostgreSQL",
    ("dbos==3.4.0",),
    "dbos_worker.py",
    Goal(60, at_least=True),
    "each step's output is stored by a transaction of its own, in threads; the workflow's input "
    "and result by others, with synchronous_commit as the server has it. Every step of every "
    "workflow stays stored.",
)


class RivalWorker(Worker):
    """A process in the rival's environment that does many runs at once, each time it is asked.

    Attributes:
        runs: How many runs a sample has: all, or as many as a minute suffices for.
    """

    def __init__(
        self, rival: Rival, path: Path | str, runs: int, steps: int, state: dict[str, Any]
    ) -> None:
        arguments = (str(path), str(steps), json.dumps(state))
        python = rival.environment.install()
        super().__init__(rival.name, python, WORKERS / rival.script, *arguments)
        self._rival = rival
        self.runs = affordable(runs, self.ask(str(min(runs, PROBE))), steps, LONGEST)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the rival and of its dependencies, by name."""
        return {name: value for name, value in self.greeting.items() if name != "pragmas"}

    @property
    def promise(self) -> str:
        """Its promise, with the pragmas of its connection to SQLite."""
        pragmas = self.greeting.get("pragmas")
        facts = (self._rival.name, self._rival.part, pragmas)
        return f"{', '.join(filter(None, facts))}: {self._rival.promise}"

    @property
    def contender(self) -> Contender:
        """The contender of the table."""
        name = f"{self._rival.name}, {self.runs} runs"
        return Contender(name, lambda: self.ask(str(self.runs)))
