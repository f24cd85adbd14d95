"""Snapshots of a store as they are found, with nothing changed."""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from aiocheckpoint._model.start_record import Ownership

__all__ = ["FoundSnapshot"]


class FoundSnapshot(NamedTuple):
    """The newest snapshot of a run in a store.

    Attributes:
        location: Where it is, for messages.
        run_id: The run that the store has it for, or None.
        flow: The flow that the store has it for. Empty where only its header says so.
        open: Opens it. Gives None where it was deleted meanwhile.
        known: What the store knows of the run beside it: its owner and its last start.
    """

    location: str
    run_id: str | None
    flow: str
    open: Callable[[], BinaryIO | None]
    known: Ownership = Ownership()
