"""Steps that fail a few times after changing state and data, on every kind of store."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from run_factories import Runs

from aiocheckpoint import CheckpointFlow, Retry, current_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State

    from aiocheckpoint import CurrentStep, Header

STORES = ("file", "directory", "sqlite", "memory", "own")
AT_ONCE: dict[str, Any] = {"wait_initial": 0.0, "wait_jitter": 0.0}
THRICE = Retry(attempts=3, **AT_ONCE)
A_LONG_TIME = 600.0


class OwnDicts:
    """A user's own handler, which keeps the given dict itself.

    Attributes:
        kept: That dict.
    """

    kept: State

    def __init__(self) -> None:
        """Begin with nothing stored."""
        self.kept = {}

    def read(self) -> State:
        """Return the stored state."""
        return self.kept

    def write(self, state: State) -> None:
        """Keep a state."""
        self.kept = state


@dataclass
class AnyStore(Runs):
    """A factory on any kind of store, with one run under test.

    Attributes:
        own: The user's own handler, for the kind "own".
    """

    own: OwnDicts = field(default_factory=OwnDicts)

    @classmethod
    def at(cls, folder: Path, kind: str) -> AnyStore:
        """Make it in a folder."""
        if kind in {"file", "own"}:
            return cls(folder / "checkpoint.pkl", kind=kind)
        made = super().at(folder, kind)
        return cls(made.path, kind=kind)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a flow on this store."""
        return {"handler": self.own} if self.kind == "own" else super().options

    @property
    def run_id(self) -> str | None:
        """The run."""
        return None if self.kind in {"file", "own"} else "x"

    @property
    def has_headers(self) -> bool:
        """Whether the store has headers, and so statuses."""
        return self.kind != "own"

    def empty_flow(self, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make a flow on this store without steps, whose events are recorded."""
        return super().empty_flow(**{"hooks": [self.events.append], **options})

    def go(self, runner: Runner, cp: CheckpointFlow, *args: object, **kwargs: object) -> State:
        """Run the run through a runner."""
        return runner(cp, *args, run_id=self.run_id, **kwargs)

    def stored(self) -> State:
        """The stored state of the run."""
        return self.empty_flow().read(self.run_id)

    def header(self) -> Header:
        """The header of the stored snapshot, which must exist."""
        header = self.empty_flow().header(self.run_id)
        assert header is not None
        return header

    def events_of(self, kind: type[Any]) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def make_error() -> Exception:
    """Make the error of a service that cannot be reached."""
    return ConnectionError("not yet")


@dataclass
class Flaky:
    """A step that fails in one of its parts, each time after all parts so far changed both dicts.

    Attributes:
        failures: The number of failures left.
        part: The part that fails.
        error: Makes the exception to raise.
        asynchronous: Whether its parts are coroutine functions.
        entries: Both dicts as each part found them, by the part's name.
        steps: The current step as each part saw it.
    """

    failures: int = 2
    part: str = "step"
    error: Callable[[], BaseException] = make_error
    asynchronous: bool = False
    entries: list[tuple[str, State, State | None]] = field(
        default_factory=list[tuple[str, "State", "State | None"]]
    )
    steps: list[CurrentStep] = field(default_factory=list["CurrentStep"])

    def add(
        self,
        cp: CheckpointFlow,
        name: str = "flaky",
        retry: int | Retry | None = THRICE,
        timeout: float | None = None,
    ) -> None:
        """Add the step to a flow, with a loader and a saver."""
        load, step, save = (self._part(part) for part in ("load", "step", "save"))
        cp.add_step(load, save, name=name, retry=retry, timeout=timeout)(step)

    def entered(self, part: str) -> list[tuple[State, State | None]]:
        """Both dicts as they were each time that a part was called."""
        return [(state, data) for name, state, data in self.entries if name == part]

    @property
    def attempts(self) -> list[int]:
        """The numbers of the attempts, as the step saw them."""
        return [step.attempt for step in self.steps]

    def _part(self, part: str) -> Callable[..., Any]:
        def body(state: State, data: State | None = None) -> State:
            self.entries.append((part, deepcopy(state), deepcopy(data)))
            if part == self.part:
                self.steps.append(current_step())
            self._change(part, state, data)
            if part == self.part and self.failures:
                self.failures -= 1
                raise self.error()
            return {"rows": [1, 2]}

        def load(state: State) -> State:
            return body(state)

        async def abody(state: State, data: State | None = None) -> State:
            return body(state, data)

        async def aload(state: State) -> State:
            return body(state)

        if part == "load":
            return aload if self.asynchronous else load
        return abody if self.asynchronous else body

    def _change(self, part: str, state: State, data: State | None) -> None:
        state["deep"][0]["list"].append(part)
        state.pop("gone", None)
        state[f"{part} done"] = True
        if data is not None:
            data["rows"].append(part)
            data[f"{part} done"] = True


def before() -> State:
    """Give the state before a flaky step."""
    return {"deep": [{"list": []}], "gone": 1}


def after() -> State:
    """Give the state after a flaky step that was changed once."""
    done = {"load done": True, "step done": True, "save done": True}
    return {"deep": [{"list": ["load", "step", "save"]}], **done}
