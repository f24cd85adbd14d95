"""A model of runs, made of their specs: the conditions that hold after any interruption."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fuzzed_flow import change

from aiocheckpoint._snapshot.keys import DATA_KEY

if TYPE_CHECKING:
    from fuzzed_flow import Call, FlowSetup
    from support import State

    from aiocheckpoint import Header

ENDS = {"fail": "builtins.ConnectionError", "break": "builtins.ValueError"}


def first_state() -> State:
    """Make the state that runs are given."""
    return {"trail": [], "value": 7}


@dataclass
class Run:
    """The model of one run.

    Attributes:
        run_id: Its id.
        header: The header stored last, as far as the model knows.
        reported: The updates given to it, as they are stored.
        telling: The same with the update of the running call.
        first: Index of the first step that is executed in this process.
        at: Index of the step that is executed, or was last; -1 before any step of this process.
        attempts: The newest attempt at each step, by name.
        tried: The number of attempts at each step from which the next one counts.
        last: The newest event of a call: its act, its part, and its step's name.
    """

    run_id: str
    header: Header | None = None
    reported: State = field(default_factory=dict[str, Any])
    telling: State = field(default_factory=dict[str, Any])
    first: int = 0
    at: int = -1
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    tried: dict[str, int] = field(default_factory=dict[str, int])
    last: tuple[str, str, str] = ("", "", "")

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.header is not None and self.header.finished

    @property
    def paused(self) -> bool:
        """Whether it waits for an update."""
        return self.header is not None and self.header.status == "paused"

    @property
    def position(self) -> int:
        """How many of its steps are done."""
        if self.header is None:
            return 0
        return len(self.header.steps or ()) if self.header.finished else self.header.position

    def begin(self, *, update: State | None = None) -> None:
        """Note that it starts or resumes in a new process.

        An equal first state that is given again is that of the same run.

        Args:
            update: The update given to it.
        """
        self.first, self.at, self.last = self.position, -1, ("", "", "")
        self.telling = {**self.reported, **(update or {})}
        self.tried = {} if self.header is None else self._tried(self.header)

    def _tried(self, header: Header) -> dict[str, int]:
        """The number of attempts that the header records for the step at which it resumes."""
        name = header.next_step or ""
        reported = header.attempts.get(name, int(header.status == "paused"))
        failure = header.failure
        return {name: max(reported, failure.attempt if failure and failure.step == name else 0)}

    def state_at(self, setup: FlowSetup, index: int, reported: State) -> State:
        """The state on entry to a step."""
        state = first_state()
        for name in setup.names[:index]:
            change(state, name)
        return {**state, **reported}

    def data_at(self, setup: FlowSetup, index: int) -> State:
        """The data that a step is given."""
        first = 0 if setup.keep_data else self.first
        data: State = {"done": [*setup.names[first:index]]} if index > first else {}
        if setup.specs[first].loads:
            data[f"from {setup.names[first]}"] = "loaded"
        return data

    def check_call(self, setup: FlowSetup, call: Call) -> None:
        """Check the step, attempt, state and data of a call."""
        assert not self.finished, "a run that finished is done"
        if self.at < 0:
            assert call.index == self.first, "it goes on at the newest snapshot"
            self.at = call.index
        elif call.index != self.at:
            assert call.index == self.at + 1, "an acknowledged step ran once"
            self.at = call.index
        self._check_attempt(call)
        if call.part != "save":
            assert call.state == self.state_at(setup, call.index, self.telling)
        if call.part == "step":
            assert call.data == self.data_at(setup, call.index), "data are as they were"

    def _check_attempt(self, call: Call) -> None:
        """Check that the number of an attempt follows the record of the last one."""
        name, attempt = call.step.step, call.step.attempt
        act, _, step = self.last
        if step == name and act not in ENDS:
            assert attempt == self.attempts[name]
        else:
            assert attempt == self.tried.get(name, 0) + 1
            self.attempts[name] = self.tried[name] = attempt

    def see(self, setup: FlowSetup, header: Header | None, stored: State, *, killed: bool) -> None:
        """Compare the stored snapshot after a process with the one before, and note it.

        Args:
            setup: The world.
            header: The header that is stored.
            stored: The state that is stored.
            killed: Whether the process was killed. A run that it had claimed, and of which it
                stored nothing, is shown as running.
        """
        if header is None:
            assert self.header is None
            assert self.at < 0, "the start is stored before the first step"
            return
        old = self.header
        index = len(setup.specs) if header.finished else header.position
        assert max(self.at, self.first) <= index <= max(self.at + 1, self.first)
        assert stored.pop("checkpoint_index") == header.position == index % len(setup.specs)
        self._check_stored(setup, stored, index)
        if old is None or header.sequence != old.sequence:
            self._check_status(setup, header)
        else:
            assert header == old or (killed and header == replace(old, status="running"))
        self.header = header

    def _check_stored(self, setup: FlowSetup, stored: State, index: int) -> None:
        """Check that the state is the one on entry to the step, and contains the updates."""
        stored.pop(DATA_KEY, None)
        if stored != self.state_at(setup, index, self.telling):
            assert self.at < 0, "the update is stored before the step begins"
            assert stored == self.state_at(setup, index, self.reported)
        else:
            self.reported = copy.deepcopy(self.telling)

    def _check_status(self, setup: FlowSetup, header: Header) -> None:
        act, part, step = self.last
        entered, failure = header.next_step, header.failure
        assert header.steps == setup.names
        # A pause without an answer stays until its step is passed.
        unanswered = header.pause is not None
        assert unanswered or header.status != "paused"
        assert not unanswered or (header.pause_number > 0 and not header.finished)
        if header.status == "paused":
            assert (act, part, step) == ("pause", "step", entered)
            assert header.pause == f"{entered} waits"
        assert (failure is not None) >= (header.status in {"failed", "cancelled"})
        if failure is not None:
            assert header.status not in {"paused", "finished"}
            # A run cancelled while its snapshot is stored may be done. Its failure names the part.
            assert failure.step == entered or failure.part == "snapshot"
        if failure is not None and header.status == "failed":
            assert failure.type == ENDS[act]
            assert (failure.part, failure.step) == (part, step)
            assert failure.attempt == self.attempts[step]
        for name, number in header.attempts.items():
            known = max(self.attempts.get(name, 0), self.tried.get(name, 0))
            begun = known + (header.status == "cancelled")
            assert 1 < number <= begun
        for name in setup.names[: header.position]:
            assert header.attempts.get(name, 1) == self.attempts[name]
