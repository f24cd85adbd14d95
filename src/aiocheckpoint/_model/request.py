"""The arguments of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from aiocheckpoint._model.given_state import CallSite
    from aiocheckpoint._model.recovery import Recovery

__all__ = ["LoadPolicy", "LoadWord", "Request"]


LoadWord = Literal["first only", "always"]
LoadPolicy = LoadWord | list[bool]
"""Which loaders run: the one of the first executed step, all, or one bool for each step."""


@dataclass(eq=False, kw_only=True)
class Request:
    """The arguments of a run.

    Attributes:
        state, load_policy, checkpoint, until, once, update, answers, data: The arguments of `run`.
        least_number: Under `once`, the least number of a finished run that is not run again. 1 for
            any, since a state that was stored by hand has none.
        recovery: How recovery takes the run. It takes only unfinished ones, and begins none.
        resumes: Whether no run is begun, and a finished one gives its stored state.
        keep_data: Whether the flow has `data` in its snapshots.
        unattended: Whether the exception of the run becomes a result, and the log has to say it.
        version: The version of the flow.
        migrates: Whether the flow has a function that takes runs of older versions on.
        remembers: Whether the given dict is remembered if the run breaks. Streams keep no state.
        caller: The line that gave a state for the run without an id, or None.
    """

    state: dict[str, Any] | None = None
    load_policy: LoadPolicy = "first only"
    checkpoint: int | str | None = None
    until: int | str | None = None
    once: bool = False
    least_number: int = 1
    update: dict[str, Any] | None = None
    answers: int | None = None
    data: dict[str, Any] | None = None
    recovery: Recovery | None = None
    resumes: bool = False
    keep_data: bool = False
    unattended: bool = False
    version: int = 0
    migrates: bool = False
    remembers: bool = True
    caller: CallSite | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it answers a pause, and so resumes a paused run alone."""
        return self.update is not None or self.answers is not None

    def migrates_from(self, version: int) -> bool:
        """Whether `migrate=` takes runs of that version of the flow on."""
        return self.migrates and version < self.version
