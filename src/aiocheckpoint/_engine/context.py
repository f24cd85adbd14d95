"""What one run carries along from step to step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.failures import Trouble
from aiocheckpoint._snapshot.keys import unmarked

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Calls
    from aiocheckpoint._engine.dispatch import Teller
    from aiocheckpoint._engine.drain import Drain
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers._run_store import Slot

__all__ = ["DrainedError", "Passage", "Progress", "Setting"]


class Setting:
    """What all runs of a flow have in common.

    Args:
        flow: Name of the flow.
        hooks: Are told the events.
        keep_data: Whether `data` is stored with the state.
        drain: Tells whether runs are to stop.
    """

    def __init__(
        self, *, flow: str, hooks: tuple[Hook, ...], keep_data: bool, drain: Drain
    ) -> None:
        self.flow, self.hooks, self.keep_data, self.drain = flow, hooks, keep_data, drain

    def told_to(self, hook: Hook) -> Setting:
        """The same with one hook more."""
        hooks = (*self.hooks, hook)
        return Setting(flow=self.flow, hooks=hooks, keep_data=self.keep_data, drain=self.drain)


class Passage:
    """One run on its way through the steps of its flow.

    Args:
        setting: What all runs of the flow have in common.
        run_id: The run's id, or None.
        steps: The steps, fixed for the length of the run.
        slot: Where the snapshots go; its lock is held.
        calls: How functions are called.
        teller: Tells the events.
        header: That of the newest snapshot, as this run sees it.

    Attributes:
        data: What loaders filled and steps use.
    """

    __slots__ = ("calls", "data", "header", "run_id", "setting", "slot", "steps", "teller")

    def __init__(
        self,
        *,
        setting: Setting,
        run_id: str | None,
        steps: Steps,
        slot: Slot,
        calls: Calls,
        teller: Teller,
        header: Header,
    ) -> None:
        self.setting, self.run_id, self.steps = setting, run_id, steps
        self.slot, self.calls, self.teller = slot, calls, teller
        self.header = header
        self.data: dict[str, Any] = {}

    async def restore(self, state: dict[str, Any], data: dict[str, Any]) -> None:
        """Make both dicts as they were on entry to the step that the stored snapshot stands at.

        Args:
            state: Gets what is stored.
            data: What `data` held then, for where it is not stored.

        Raises:
            CheckpointError: What is stored cannot be loaded any more; both are as they were.
        """
        stored = await self.slot.state()
        kept = unmarked(stored)
        content = kept if self.header.holds_data else data
        for target, entries in ((state, stored), (self.data, content)):
            target.clear()
            target.update(entries)


class Progress:
    """Where in a step a run is.

    Args:
        index: Index of the step.
        step: Its name.
        loads: Whether each attempt calls the loader.
        of: The number of steps.
        attempt: Which attempt at the step it is.

    Attributes:
        part: "load", "step", "save" or "snapshot".
        began: When the attempt began, by `time.perf_counter`.
    """

    __slots__ = ("attempt", "began", "index", "loads", "of", "part", "step")

    def __init__(self, index: int, step: str, *, loads: bool, of: int, attempt: int) -> None:
        self.index, self.step, self.loads = index, step, loads
        self.of, self.attempt = of, attempt
        self.part = "load"
        self.began = time.perf_counter()

    @property
    def where(self) -> dict[str, Any]:
        """What the events of the step have in common."""
        return {"step": self.step, "index": self.index, "of": self.of}

    def trouble(self, error: BaseException, *, last: bool = True) -> Trouble:
        """Put what came out of the step together with where it was."""
        seconds = time.perf_counter() - self.began
        return Trouble(
            error,
            step=self.step,
            part=self.part,
            seconds=seconds,
            attempt=self.attempt,
            last=last,
        )


class DrainedError(Exception):
    """A run goes no further, because its flow is being drained."""
