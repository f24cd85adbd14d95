"""One stored run: read its state, patch it, delete it, reset its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from functools import partial as bind
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._model.compatibility import check_version
from aiocheckpoint._model.given_state import call_site
from aiocheckpoint._model.start_points import find_step
from aiocheckpoint._snapshot.keys import check_reserved_keys, drop_position
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers import StateHandler

__all__ = ["make_delete", "make_patch", "read_header", "read_state", "reset_run"]

_STAYS = frozenset({"queued", "paused", "terminated", "finished"})
"""The statuses that a run keeps when its values alone are patched."""


async def read_header(core: FlowCore, backend: Backend, run_id: str | None) -> Header | None:
    """Read the header of a run, or give None where nothing is stored."""
    if moves_snapshots(core.handler):
        header: Header | None = await backend.read(core.handler.header, checked_run_id(run_id))
        return header
    return await core.run_store(run_id, backend).read_header()


async def read_state(
    core: FlowCore, backend: Backend, run_id: str | None, *, partial: bool = False
) -> dict[str, Any]:
    """Read the state of a run, or give an empty dict where nothing is stored.

    Raises:
        InvalidValueError: `partial` is true, and the handler is a user's own class.
    """
    if partial or moves_snapshots(core.handler):
        caller = call_site() if partial else None
        return await backend.read(core.snapshot_handler().read_for, caller, checked_run_id(run_id))
    run_store = core.run_store(run_id, backend)
    return {} if await run_store.read_header() is None else await run_store.state()


def make_patch(
    core: FlowCore, run_id: str | None, values: dict[str, Any], checkpoint: int | str | None
) -> Callable[[], Header]:
    """Check the arguments of `patch`, and make the blocking function that does it.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidTypeError(f"values= of patch() is a dict, not a {type(values).__name__}.")
    names = core.registry.steps.names
    position = None if checkpoint is None else _position(names.all, checkpoint)
    handler = core.snapshot_handler()
    patch = bind(_patch, handler, checked_run_id(run_id), values, names, position)
    return bind(patch, version=core.settings.version)


def make_delete(core: FlowCore, run_id: str) -> Callable[[], bool]:
    """Check the argument of `delete`, and make the blocking function that does it.

    Raises:
        InvalidTypeError, InvalidValueError: `run_id` is no id.
    """
    if run_id is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise InvalidTypeError(
            "a run is deleted by its run_id. reset() deletes the one without an id."
        )
    return bind(_delete, core.snapshot_handler(), checked_run_id(run_id))


async def reset_run(core: FlowCore, backend: Backend, run_id: str | None) -> None:
    """Delete a checkpoint under the run's lock."""
    run_store = core.run_store(run_id, backend)
    await hold_lock(run_store, backend, run_store.remove)


def _patch(
    handler: StateHandler,
    run_id: str | None,
    values: dict[str, Any],
    names: StepNames,
    position: int | None,
    *,
    version: int,
) -> Header:
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        if found is None:
            raise InvalidValueError(
                f"nothing is stored in {handler.locate(run_id)}, so there is nothing to patch. "
                "runs() lists the stored runs."
            )
        if position is not None:
            check_version(found.header, version, found.location)
        check_reserved_keys(values, "values= of patch()", takes_data=found.header.holds_data)
        state = {**found.state(), **values}
        drop_position(state)
        header = _moved(found.header, names, position)
        header = replace(
            handler.patched(header, run_id, header.position),
            status=header.status,
            pause=header.pause,
            due=header.due,
            terminated_by=header.terminated_by,
            termination=header.termination,
            stopped_by="patch" if header.status == "stopped" else None,
        )
        emit = bind(handler.codec.write, header, state, None)
        return handler.replace(run_id, emit, lock=lock)[0]


def _moved(header: Header, names: StepNames, position: int | None) -> Header:
    """The header with another position, or with its own for None."""
    if position is None:
        return header if header.status in _STAYS else replace(header, status="stopped", due=None)
    finished = position == len(names.all)
    return replace(
        header,
        steps=names.listed,
        excerpt=names.excerpt(position, finished=finished),
        position=0 if finished else position,
        status="finished" if finished else "stopped",
        pause=None,
        due=None,
        terminated_by=None,
        termination=None,
    )


def _position(names: tuple[str, ...], checkpoint: int | str) -> int:
    """The index that `checkpoint` names. The number of steps is the end."""
    at_the_end = not isinstance(checkpoint, (bool, str)) and checkpoint == len(names)
    return len(names) if at_the_end else find_step(names, checkpoint, "checkpoint")


def _delete(handler: StateHandler, run_id: str | None) -> bool:
    with handler.locked(run_id) as lock:
        file = handler.open(run_id)
        if file is None:
            return False
        file.close()
        handler.remove(run_id, lock=lock)
        return True
