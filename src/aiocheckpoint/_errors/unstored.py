"""The error of a state that cannot be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint._errors.messages import describe_unstored
from aiocheckpoint._errors.root import CheckpointError, revive

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UnserializableStateError"]


class UnserializableStateError(CheckpointError, TypeError):
    """The state holds a value that cannot be stored. The stored snapshot was not touched.

    Attributes:
        step: The step after which the state could not be stored, or None before the first of a
            run.
        paused_step: The step whose pause `update=` was to answer, where the state with `update=`
            could not be stored. Else None.
        run_id: The run that was to be queued, where its state could not be stored. Else None.
        offenders: Pairs of the path of a value in the state, such as `state["conn"]`, and its type
            with the reason, never its content.
        state: The state as the step left it, for the call in the message. With `keep_data=True` it
            has `data` under "checkpoint_data". None before the first step, in the results and
            events of streams, and in a copy made by pickle.
    """

    __slots__ = ("state",)  # Outside of vars(), which reports of errors print.
    state: dict[str, Any] | None
    paused_step: str | None = None  # Pickles of 0.5 have none.
    run_id: str | None = None  # Nor this.

    def __new__(cls, *args: Any, **_: Any) -> Self:  # noqa: ANN401
        """Begin without a state, as pickles have none."""
        self = super().__new__(cls, *args)
        self.state = None
        return self

    def __init__(
        self,
        step: str | None,
        offenders: Sequence[tuple[str, str]],
        *,
        state: dict[str, Any] | None = None,
        call: str = "",
        at_prompt: bool = False,
        paused_step: str | None = None,
        run_id: str | None = None,
    ) -> None:
        text = describe_unstored(
            step, offenders, call, at_prompt=at_prompt, paused_step=paused_step, queued=run_id
        )
        super().__init__(text)
        self.run_id = run_id
        self.paused_step = paused_step
        self.step = step
        self.offenders: tuple[tuple[str, str], ...] = tuple(offenders)
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild without the state, and without the call that stores it."""
        text = describe_unstored(
            self.step, self.offenders, paused_step=self.paused_step, queued=self.run_id
        )
        return revive, (type(self), text, self._facts())
