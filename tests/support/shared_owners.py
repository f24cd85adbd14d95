"""Processes that own runs in a shared store, those that take the runs over, and their effects."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lease_owners import Process, process
from owner_script import STEPS

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

LONG = 3600.0
"""A lease that no test waits for."""


@contextmanager
def shared_owner(
    url: str, log: Path, *runs: str, before: Sequence[str] = (), **options: object
) -> Generator[Process]:
    """Give a process whose runs are held in their second step, which is killed at the end.

    Args:
        url: The store.
        log: Where its steps are noted.
        runs: The runs.
        before: The words before the command.
        options: Options of the flow, and `clock`, seconds by which its wall clock is wrong.
    """
    words = [url, json.dumps(options), log, *runs]
    with process("shared_owner_script.py", *words, before=before) as made:
        assert made.first == "held"
        yield made


def make_taker(url: str, log: list[str] | None = None, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make the flow as this process runs it.

    Args:
        url: The store.
        log: Gets the steps that are executed: run and step.
        options: Options of the flow.
    """
    cp = CheckpointFlow(url, name="owned", **options)
    for name in STEPS:

        def step(state: dict[str, Any], name: str = name) -> None:
            if log is not None:
                log.append(f"{state['id']} {name}")
            state["trail"] = [*state["trail"], f"{name} of the taker"]

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


def trail(*owners: str) -> list[str]:
    """The trail of a run whose steps these have done, one after another."""
    return [f"{name} of the {owner}" for name, owner in zip(STEPS, owners, strict=True)]


KEPT = trail("owner", "owner", "owner")
TAKEN = trail("owner", "taker", "taker")


def acknowledged(log: Path, run: str) -> list[str]:
    """The steps of a run whose snapshots its owner has seen stored."""
    lines = (line.split(" ") for line in log.read_text("utf-8").splitlines())
    return [step for word, found, step, _ in lines if (word, found) == ("ack", run)]


@dataclass
class Asker:
    """Resumes what it finds without an owner, again and again.

    Attributes:
        flow: Its flow.
        found: The runs that it has taken.
    """

    flow: CheckpointFlow
    found: list[str | None] = field(default_factory=list[str | None])

    def ask(self) -> list[str | None]:
        """Resume all once, and return the runs."""
        taken = [result.run_id for result in self.flow.resume_all()]
        self.found += taken
        return taken

    def ask_for(self, seconds: float) -> list[str | None]:
        """Ask again and again for so many seconds, and return the runs."""
        before, deadline = len(self.found), time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.ask()
            time.sleep(0.05)
        return self.found[before:]

    def ask_until_found(self, run: str, seconds: float = 60.0) -> float:
        """Ask again and again until a run was taken, and return the seconds that it took."""
        begun = time.monotonic()
        while run not in self.found:
            assert time.monotonic() < begun + seconds, "nobody has succeeded the owner"
            self.ask()
            time.sleep(0.02)
        return time.monotonic() - begun
