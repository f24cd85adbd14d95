"""One stored run: read its state, patch it, delete it, reset its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._model.plan import find_step
from aiocheckpoint._snapshot.keys import POSITION_KEY
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


async def read_header(core: FlowCore, backend: Backend, run_id: str | None) -> Header | None:
    """Read the header of a run, or give None where nothing is stored."""
    if moves_snapshots(core.handler):
        header: Header | None = await backend.read(core.handler.header, checked_run_id(run_id))
        return header
    return await core.run_store(run_id, backend).read_header()


async def read_state(core: FlowCore, backend: Backend, run_id: str | None) -> dict[str, Any]:
    """Read the state of a run, or give an empty dict where nothing is stored."""
    if moves_snapshots(core.handler):
        state: dict[str, Any] = await backend.read(core.handler.read, checked_run_id(run_id))
        return state
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
    return partial(_patch, handler, checked_run_id(run_id), values, names, position)


def make_delete(core: FlowCore, run_id: str) -> Callable[[], bool]:
    """Check the argument of `delete`, and make the blocking function that does it.

    Raises:
        InvalidTypeError, InvalidValueError: `run_id` is no id.
    """
    if run_id is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise InvalidTypeError(
            "a run is deleted by its run_id. reset() deletes the one without an id."
        )
    return partial(_delete, core.snapshot_handler(), checked_run_id(run_id))


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
) -> Header:
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        if found is None:
            raise InvalidValueError(
                f"nothing is stored in {handler.locate(run_id)}, so there is nothing to patch. "
                "runs() lists the stored runs."
            )
        state = {**found.state(), **values}
        state.pop(POSITION_KEY, None)  # a bare pickle may lack it
        header = _moved(found.header, names, position)
        patched = handler.patched(header, run_id, header.position)
        pause = header.pause if header.status == "paused" else None
        header = replace(patched, status=header.status, pause=pause)
        emit = partial(handler.codec.write, header, state, None)
        return handler.replace(run_id, emit, lock=lock)[0]


def _moved(header: Header, names: StepNames, position: int | None) -> Header:
    """The header with another position, or with its own for None."""
    if position is None:
        stays = header.finished or header.status == "paused"
        return header if stays else replace(header, status="stopped")
    finished = position == len(names.all)
    return replace(
        header,
        steps=names.listed,
        excerpt=names.excerpt(position, finished=finished),
        position=0 if finished else position,
        status="finished" if finished else "stopped",
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
