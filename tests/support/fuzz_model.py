"""What must hold of runs, whatever happens to them: told from their specs, in the fewest words."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
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
    """What is known of one run.

    Attributes:
        run_id: Its id.
        header: What was stored last, as far as is known.
        reported: What it was told by updates, as it is stored.
        telling: The same for what is under way now.
        first: Index of the first step that is executed in this process.
        at: Index of the step that is executed, or was last; -1 where none was in this process.
        attempts: The newest attempt at each step, by name.
        tried: How many attempts at the steps are known to whoever counts on.
        last: What happened in the newest call: its act, its part, and its step's name.
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

    def begin(
        self, *, anew: bool = False, given: bool = False, update: State | None = None
    ) -> None:
        """Note how it is begun, or gone on with, in a new process.

        Args:
            anew: Whether it is another run where no step is done.
            given: Whether it has its first state again where no step is done.
            update: What it is told.
        """
        self.first, self.at, self.last = self.position, -1, ("", "", "")
        self.telling = {**self.reported, **(update or {})}
        self.tried = {}
        if self.position == 0 and given and anew:
            self.telling = {}
        if self.header is not None and not (anew and self.position == 0):
            self.tried = self._tried(self.header)

    def _tried(self, header: Header) -> dict[str, int]:
        """How many attempts the header tells of at the step where it goes on."""
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
        """See that a step begins where, when and with what it should."""
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
        """See that attempts are counted on from the record of the last one."""
        name, attempt = call.step.step, call.step.attempt
        act, _, step = self.last
        if step == name and act not in ENDS:
            assert attempt == self.attempts[name]
        else:
            assert attempt == self.tried.get(name, 0) + 1
            self.attempts[name] = self.tried[name] = attempt

    def see(self, setup: FlowSetup, header: Header | None, stored: State) -> None:
        """Compare what is stored after a process with what it was, and note it.

        Args:
            setup: The world.
            header: The header that is stored.
            stored: The state that is stored.
        """
        if header is None:
            assert self.header is None
            assert self.at < 0, "the start is stored before the first step"
            return
        old = self.header
        index = len(setup.specs) if header.finished else header.position
        assert max(self.at, self.first) <= index <= max(self.at + 1, self.first)
        assert stored.pop("checkpoint_index") == header.position == index % len(setup.specs)
        self._check_told(setup, stored, index)
        if old is None or header.sequence != old.sequence:
            self._check_status(setup, header)
        else:
            assert header == old
        self.header = header

    def _check_told(self, setup: FlowSetup, stored: State, index: int) -> None:
        """See that the state is that on entry to the step, and what it was told is not lost."""
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
        assert (header.pause is not None) == (header.status == "paused")
        if header.status == "paused":
            assert (act, part, step) == ("pause", "step", entered)
            assert header.pause == f"{entered} waits"
        assert (failure is not None) >= (header.status in {"failed", "cancelled"})
        if failure is not None:
            assert header.status not in {"paused", "finished"}
            # One that is cancelled as its snapshot is stored may be done, and says so.
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
