"""Checks of the progress that a store keeps for the next attempt, for every state handler."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.current_step import current_step
from aiocheckpoint._snapshot.progress_record import MOST_PROGRESS_BYTES
from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._progress_port import ProgressPort
from aiocheckpoint.testing._checking import (
    fresh,
    must,
    not_checked,
    store,
    store_under,
)

if TYPE_CHECKING:
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["PROGRESS_CHECKS"]

_RECORD = bytes(range(256)) * 80 + b"\n"


def check_progress(make: Make) -> None:
    """The record of a run's progress is kept beside its snapshot, and deleted with the run."""
    _check_keeps_progress(make)
    with fresh(make, "progress", "beside") as handler:
        for run_id in ("progress", "beside"):
            store(handler, run_id, "running")
        must(handler.read_progress("progress") is None, "a run has no record at first")
        with handler.locked("progress") as lock:
            handler.write_progress("progress", None, lock=lock)
            handler.write_progress("progress", b"first" * 100, lock=lock)
            handler.write_progress("progress", _RECORD, lock=lock)
            must(make().read_progress("progress") == _RECORD, "the last record is found")
            must(make().read_progress("progress", lock=lock) == _RECORD, "also by its lock")
            must(make().read_progress("beside") is None, "another run has none")
            store_under(lock, handler, "progress", "running")
            must(make().read_progress("progress") == _RECORD, "a snapshot leaves the record")
            handler.write_progress("progress", None, lock=lock)
            must(make().read_progress("progress") is None, "None deletes it")
            handler.write_progress("progress", bytes(MOST_PROGRESS_BYTES), lock=lock)
        found = make().read_progress("progress")
        must(found == bytes(MOST_PROGRESS_BYTES), "the largest record is kept when the run ends")
        with suppress(LeaseLostError):
            handler.write_progress("progress", b"late", lock=lock)
        must(make().read_progress("progress") == found, "nothing is stored by an owner of before")
        handler.remove("progress")
        store(handler, "progress", "running")
        must(make().read_progress("progress") is None, "a record is deleted with its run")


def check_cursor(make: Make) -> None:
    """The cursor of a step reaches its next attempt, and no other step or run."""
    _check_keeps_progress(make)
    with fresh(make, "cursor"):
        seen: list[object] = []

        def last(_state: dict[str, Any]) -> None:
            seen.append(current_step().cursor)
            current_step().progress(len(seen), cursor={"tries": len(seen)})
            if len(seen) in {1, 2, 4}:
                raise ValueError("broken")

        def run(**arguments: Any) -> None:  # noqa: ANN401 - those of `CheckpointFlow.run`
            cp = CheckpointFlow("conformance", handler=make(), name=make().flow or None)
            cp.add_step()(_pass)
            cp.add_step()(last)
            with suppress(ValueError):
                cp.run({"n": 1}, run_id="cursor", **arguments)

        for _ in range(3):
            run()
        must(seen == [None, {"tries": 1}, {"tries": 2}], "the next attempt has the last cursor")
        must(make().read_progress("cursor") is None, "it is deleted when the step ends")
        run()
        run(checkpoint="last")
        must(seen[3:] == [None, None], "a new run has none, and checkpoint= begins without one")


def _check_keeps_progress(make: Make) -> None:
    if type(make()).write_progress is ProgressPort.write_progress:
        # It may have been written before there were such records, and left so.
        raise not_checked("it overrides no write_progress(), and keeps no records of progress")


def _pass(_state: dict[str, Any]) -> None:
    pass


PROGRESS_CHECKS: tuple[Check, ...] = (check_progress, check_cursor)
"""Each check is called with `make`, see `check_handler`."""
