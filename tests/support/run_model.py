"""The model of a stored run, for machines that act on many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stepped_runs import NAMES, SteppedRun, migrate

if TYPE_CHECKING:
    from support import State

    from aiocheckpoint._model.header import Status


@dataclass
class Run:
    """The model of a stored run.

    Attributes:
        owner: Id of the process that owns it, as the database has it.
        holder: The stepped run whose writes count.
        given: The state that it was submitted or begun with, or None where that is not known.
        base: The trail that it began with.
        acked: The steps of this run number that are done.
        pauses: The pauses of this id so far.
        asked: Whether the last of them is neither answered nor passed.
        starts: The starts at the step where it stands.
        killed: How many of them ended by a kill, as far as one was noticed.
        moved: Whether a patch put it to another step.
        version: The version of the flow that stored it.
        held_by: The version of the process that holds it.
        due: Whether recovery takes it, if nobody owns it.
        is_new: Whether it was queued, and nothing else was stored since.
        ending: Whether somebody has asked for its end, and its owner has not seen it.
    """

    number: int = 0
    begun: int = 0
    status: Status = "running"
    position: int = 0
    state: State = field(default_factory=dict[str, Any])
    owner: str | None = None
    holder: SteppedRun | None = None
    given: State | None = None
    base: list[str] = field(default_factory=list[str])
    acked: set[str] = field(default_factory=set[str])
    pauses: int = 0
    asked: bool = False
    starts: int = 1
    killed: int = 0
    moved: bool = False
    version: int = 0
    held_by: int = 0
    due: bool = True
    is_new: bool = False
    ending: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.status in {"finished", "terminated"}

    def ended(self, status: Status, *, due: bool = False) -> None:
        """Note the end of a stepped run, after which a request to end it is carried out."""
        self.status, self.owner, self.holder, self.due = status, None, None, due
        self.is_new = False
        if status == "paused":
            self.pauses += not self.asked
            self.asked = True
        if self.ending and not self.is_over:
            self.status, self.due = "terminated", False
        if self.is_over:
            self.ending = False
        if self.is_over or self.status == "paused":
            self.starts = self.killed = 0

    def settle_ending(self) -> None:
        """Note that a claim has seen a request to end it, of which its owner did not know."""
        if self.ending:
            self.ended("terminated")

    def step_done(self) -> None:
        """Note that a step was acknowledged."""
        name = NAMES[self.position]
        assert name not in self.acked
        self.acked.add(name)
        if self.version < self.held_by:
            migrate(self.state, self.version)
            self.version = self.held_by
        self.state = {**self.state, "trail": [*self.state.get("trail", ()), name]}
        self.status, self.position, self.asked = "running", self.position + 1, False
        self.starts, self.killed, self.due, self.is_new = 1, 0, True, False
        if self.position == len(NAMES):
            self.ended("finished")
            self.position = 0
            assert self.moved or self.state["trail"] == [*self.base, *NAMES]

    def finish(self, version: int) -> None:
        """Note that a process of a version has done all the steps that were left."""
        self.held_by = version
        while self.status != "finished":
            self.step_done()
