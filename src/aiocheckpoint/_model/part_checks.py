"""Checks of what the parts of a step return and raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._model.pause import Pause
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.termination import Terminate

__all__ = ["check_end", "checked_loaded"]


def check_end(part: str, step: str, end: Pause | Terminate) -> None:
    """Check that it was the step itself that pauses or terminates its run.

    Raises:
        FlowDefinitionError: It was its loader or saver.
    """
    if part != "step":
        does = "pause a run" if isinstance(end, Pause) else "terminate a run"
        raise FlowDefinitionError(
            f"the {'loader' if part == 'load' else 'saver'} of step {step!r} raised "
            f"{type(end).__name__}, and only a step may {does}. Raise it in the step itself, or in "
            f"one of its own {'before' if part == 'load' else 'behind'} it.",
            step=step,
        ) from end


def checked_loaded(loaded: object, step: str, needs: tuple[str, ...]) -> dict[str, Any]:
    """Give back what a loader has returned.

    Args:
        loaded: What it has returned.
        step: Name of the step.
        needs: Keys that the loader brings.

    Raises:
        InvalidTypeError: It is no dict.
        InvalidValueError: A needed key is not in it.
    """
    if not isinstance(loaded, dict):
        raise InvalidTypeError(
            f"the loader of step {step!r} returned a {type(loaded).__name__}, and a loader "
            "returns a dict, which is merged into `data`."
        )
    absent = [repr(key) for key in needs if key not in loaded]
    if absent:
        raise InvalidValueError(
            f"the loader of step {step!r} returned a dict without {', '.join(absent)}, and "
            "needs= says that it brings it. Load it, or take it out of needs=."
        )
    return cast("dict[str, Any]", loaded)
