"""A rule-based machine that acts in every way on a signed flow with three retained snapshots.

Every step appends its name to the trail, so each position has a known trail.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiocheckpoint import CheckpointFlow, CorruptSnapshotError, LocalStateHandler
from aiocheckpoint._concurrency.backends import run_to_completion
from aiocheckpoint._model.request import Request
from aiocheckpoint.testing._crashing import (
    _Breaker,
    _BreakingSyncBackend,
    _Crash,
)

if TYPE_CHECKING:
    from support import State

    from aiocheckpoint import Header

KEEP = 3
FAULTS = {"fail": ConnectionError, "cancel": KeyboardInterrupt}
NUMBERS = st.integers(0, 5)


class FlowMachine(RuleBasedStateMachine):
    """The flow, its file, and the model of its run.

    Attributes:
        names: The steps.
        floor: The position that must not be lost; -1 if a run may start anew.
        patch: The value patched into the state of the unfinished run, or None.
    """

    def __init__(self) -> None:
        """Begin with four steps and nothing stored."""
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name, "checkpoint.pkl")
        self.names = ["a", "b", "c", "d"]
        self.secrets = ["0" * 32]
        self.made = 0
        self.floor = -1
        self.patch: int | None = None
        self._fault: tuple[str, type[BaseException]] | None = None

    def teardown(self) -> None:
        """Delete the files."""
        self._directory.cleanup()

    # --- looking

    @property
    def handler(self) -> LocalStateHandler:
        """The handler, made anew as another process would."""
        return LocalStateHandler(self.path, fsync=False, keep=KEEP, secret=self.secrets)

    def header(self) -> Header | None:
        """The header of the newest sound snapshot."""
        return self.handler.header()

    def position(self) -> int:
        """The position at which an unfinished run resumes, or -1."""
        header = self.header()
        return -1 if header is None or header.finished else header.position

    # --- running

    def flow(self) -> CheckpointFlow:
        """Make the flow as it is now."""
        cp = CheckpointFlow(self.path, fsync=False, keep=KEEP, secret=self.secrets)
        for name in self.names:

            def step(state: State, name: str = name) -> None:
                state.setdefault("trail", []).append(name)
                if self._fault is not None and self._fault[0] == name:
                    raise self._fault[1](name)

            cp.add_step(name=name)(lambda state, step=step: step(state))
        return cp

    def run(self, **options: Any) -> None:  # noqa: ANN401 (passed on as is)
        """Run, and note the conditions that must hold afterwards."""
        begun = self.position()
        try:
            final = self.flow().run({}, **options)
        except (ConnectionError, KeyboardInterrupt):
            assert self._fault is not None
        else:
            assert final["trail"] == self.names
            assert final.get("patch") == (self.patch if begun > 0 else None)
        self._note()

    def _note(self) -> None:
        self._fault = None
        self.floor = self.position()
        self.patch = self.handler.read().get("patch")

    @rule()
    def finish(self) -> None:
        """Run to the end."""
        self.run()
        assert self.position() == -1

    @rule(way=st.sampled_from(sorted(FAULTS)), number=NUMBERS)
    def break_in_a_step(self, way: str, number: int) -> None:
        """Run, and fail in a step if it is among the steps left."""
        self._fault = (self.names[number % len(self.names)], FAULTS[way])
        self.run()

    @rule(boundary=st.integers(0, 16))
    def crash(self, boundary: int) -> None:
        """Run, and die at a step boundary if the run has so many."""
        backend = _BreakingSyncBackend(_Breaker([], boundary, "crash", "run"))
        request = Request(state={}, load_policy="first only", checkpoint=None, until=None)
        try:
            run_to_completion(self.flow()._core.run(backend, request, None))  # noqa: SLF001
        except _Crash:
            assert self.position() >= self.floor or self.header() is not None
        finally:
            backend.close()
        self._note()

    @rule(number=NUMBERS)
    def stop_after(self, number: int) -> None:
        """Run up to a step that is still to come."""
        begun = max(self.position(), 0)
        if begun < len(self.names):
            self.run_until(begun + number % (len(self.names) - begun))

    def run_until(self, index: int) -> None:
        """Run up to a step."""
        final = self.flow().run({}, until=index)
        assert final["trail"] == self.names[: index + 1]
        self._note()

    # --- actions of users

    @precondition(lambda self: self.position() > 0)
    @rule(number=NUMBERS)
    def patch_state(self, number: int) -> None:
        """Read, edit, write."""
        state = self.handler.read()
        self.handler.write({**state, "patch": number})
        self._note()
        assert self.patch == number

    @rule()
    def rotate(self) -> None:
        """Sign with a new secret, and verify with the old ones as well."""
        self.made += 1
        self.secrets = [f"{self.made:032}", *self.secrets]

    @rule(number=NUMBERS)
    def change_the_rest(self, number: int) -> None:
        """Insert a step, or rename one, behind the position."""
        self.made += 1
        begun = max(self.position(), 0)
        rest = self.names[begun:]
        if number % 2 and rest:
            rest[number % len(rest)] = f"renamed {self.made}"
        elif len(self.names) < 8:
            rest.insert(number % (len(rest) + 1), f"added {self.made}")
        self.names[begun:] = rest

    @precondition(lambda self: len(self.handler.kept()) > 1)
    @rule(cut=st.integers(1, 200))
    def damage(self, cut: int) -> None:
        """Truncate the newest file, or flip a bit of it. An older snapshot is read instead."""
        content = bytearray(self.path.read_bytes())
        if cut % 2:
            del content[-cut:]
        else:
            content[cut % len(content)] ^= 1
        self.path.unlink()
        self.path.write_bytes(content or b"x")
        self._note()

    @rule()
    def reset(self) -> None:
        """Forget all."""
        try:
            self.flow().reset()
        except CorruptSnapshotError:  # A cut one may be anybody's.
            self.path.unlink()
            self.flow().reset()
        assert self.handler.read() == {}
        self._note()

    # --- invariants

    @invariant()
    def trail_belongs_to_the_position(self) -> None:
        """The stored state belongs to its position, and no acknowledged step is lost."""
        header, state = self.header(), self.handler.read()
        if header is None or header.steps is None:
            assert state == {}
            return
        done = header.steps if header.finished else header.steps[: header.position]
        assert state.get("trail", []) == list(done)
        assert self.position() == self.floor

    @invariant()
    def nothing_is_left(self) -> None:
        """The directory holds the file and its retained snapshots, within the limit of `keep`.

        The record of starts stays while the run has not got past its step.
        """
        names = {path.name for path in self.path.parent.iterdir()}
        assert names <= {"checkpoint.pkl", ".checkpoint.pkl.kept", ".checkpoint.pkl.start"}
        assert len(self.handler.kept()) <= KEEP
