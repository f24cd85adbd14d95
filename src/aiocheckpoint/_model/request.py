"""The arguments of a run."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["AlreadyFinishedError", "LoadPolicy", "Request"]


LoadPolicy = Literal["first only", "always"] | list[bool]
"""Which loaders run: the one of the first executed step, all, or one bool for each step."""


class Request:
    """The arguments of a run.

    Args:
        state, load_policy, checkpoint, until, once, update: The arguments of `run`.
        unfinished_only: Whether only an unfinished run is resumed, and no new one begun.
        keep_data: Whether the flow has `data` in its snapshots.
    """

    def __init__(
        self,
        *,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        until: int | str | None = None,
        once: bool = False,
        update: dict[str, Any] | None = None,
        unfinished_only: bool = False,
        keep_data: bool = False,
    ) -> None:
        self.load_policy: LoadPolicy = load_policy
        self.state, self.checkpoint, self.until = state, checkpoint, until
        self.once, self.update = once, update
        self.unfinished_only, self.keep_data = unfinished_only, keep_data


class AlreadyFinishedError(Exception):
    """No unfinished run is stored, and only an unfinished one was to be resumed."""
