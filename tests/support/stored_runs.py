"""Runs that are stored as queued or terminated, without the calls that make them so."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.versions import stamped

if TYPE_CHECKING:
    from support import State

    from aiocheckpoint import CheckpointFlow

__all__ = ["queue_run", "terminate_run"]


def queue_run(
    cp: CheckpointFlow,
    run_id: str,
    state: State,
    **facts: Any,  # noqa: ANN401 - fields of a header, of many types
) -> Header:
    """Store a run that has not begun."""
    header = Header(
        flow=cp.handler.flow,
        run_id=run_id,
        position=0,
        number=1,
        sequence=1,
        status="queued",
        steps=cp.plan({}).steps,
        started_at=1_000.5,
        initial_digest=UNDIGESTED,
    )
    header = replace(stamped(header), **facts)
    with cp.handler.locked(run_id) as lock:
        write_to = partial(cp.handler.codec.write, header, state, None)
        stored: Header = cp.handler.replace(run_id, write_to, lock=lock)[0]
    return stored


def terminate_run(
    cp: CheckpointFlow, run_id: str | None, by: str = "hand", reason: str = "no such customer"
) -> Header:
    """End a stored run for good, where it stands."""
    handler = cp.handler
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        assert found is not None
        ending = {"terminated_by": by, "termination": reason}
        header = found.header.ended("terminated", at=1_000.5, **ending)
        write_to = partial(handler.codec.write, header, found.state(), None)
        stored: Header = handler.replace(run_id, write_to, lock=lock)[0]
    return stored
