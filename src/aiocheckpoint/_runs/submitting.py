"""The work of `submit` and `requeue`: runs that are stored to be worked off later."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocheckpoint._concurrency.for_each import for_each
from aiocheckpoint._engine.submitting import Submitter, announce
from aiocheckpoint._model.checks import checked_flag, checked_reason
from aiocheckpoint._model.due import checked_due
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._runs.pairs import checked_pairs, checked_runs
from aiocheckpoint.errors import CheckpointError, InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers._stored_changes import requeue_stored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["SubmitArguments", "checked_submit", "requeue_run", "submit_run", "submit_runs"]

_CHUNK = 512
"""How many runs are stored together: as many as a statement has rows. Encoding them keeps a loop
busy for about 7 ms. 256 of them at a time take 13 % longer in all, and 1,024 take 7 %."""
_CHUNKS_AT_ONCE = 3
"""One is encoded while another one is written, and a third one waits for the writer thread."""


class SubmitArguments(NamedTuple):
    """The checked arguments of `submit`.

    Attributes:
        runs: The runs, or the state of one.
        run_id: The id of that one, or None for many.
        due: Seconds since the epoch, or None.
        once: As given.
    """

    runs: Any
    run_id: str | None
    due: float | None
    once: bool


def checked_submit(
    runs: object, run_id: object, due: object, once: object, *, blocking: bool = False
) -> SubmitArguments:
    """Check the arguments of `submit` or `asubmit`.

    Args:
        runs: As of `asubmit`, as are the next three.
        run_id: The id of one run, or None.
        due: When the runs are due.
        once: Whether finished runs are left as they are.
        blocking: Whether no loop runs, so that nothing can be awaited.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    method = "submit" if blocking else "asubmit"
    times = checked_due(due), checked_flag("once", once)
    if run_id is not None:
        if not isinstance(runs, dict):
            raise InvalidTypeError(f"the state must be a dict, not a {type(runs).__name__}.")
        return SubmitArguments(runs, checked_run_id(run_id), *times)
    if blocking and isinstance(runs, AsyncIterable):
        raise InvalidTypeError(
            "submit() takes a dict of states by run id, or an iterable of pairs (run_id, state). "
            f"A {type(runs).__name__} is iterated over by asubmit()."
        )
    return SubmitArguments(checked_runs(runs, method), None, *times)


async def submit_run(core: FlowCore, backend: Backend, arguments: SubmitArguments) -> Header:
    """Store one run, and give its header.

    Raises:
        CheckpointError: It is refused, or cannot be stored.
    """
    pair = cast("str", arguments.run_id), arguments.runs
    (outcome,) = await _submitter(core, backend, arguments).store([pair])
    if isinstance(outcome, CheckpointError):
        raise outcome
    return outcome


async def submit_runs(
    core: FlowCore, backend: Backend, arguments: SubmitArguments, method: str
) -> list[RunResult[Any]]:
    """Store many runs, and give the result of each, in the order of the pairs.

    Raises:
        Exception: What `runs` raises. The runs before are stored then.
    """
    submitter = _submitter(core, backend, arguments)
    results: list[list[RunResult[Any]]] = []

    unstored: dict[int, _Chunk] = {}

    async def store(chunk: _Chunk) -> None:
        results[chunk.number] = await chunk.stored_by(submitter)
        for _, state in chunk.pairs:
            unstored.pop(id(state), None)

    async def chunks() -> AsyncGenerator[_Chunk, None]:
        chunk = _Chunk(0)
        try:
            # Without a check: a drained flow takes runs for others.
            async for run_id, state in checked_pairs(arguments.runs, method):
                # Before the chunk is given away: the source may have changed a dict that is in it.
                before = unstored.get(id(state))
                shared = None if before is None else before.refuse_shared(run_id, state)
                if len(chunk.pairs) == _CHUNK:
                    results.append([])
                    yield chunk
                    chunk = _Chunk(len(results))
                chunk.add(run_id, state, shared)
                unstored.setdefault(id(state), chunk)
        except Exception:
            results.append([])
            yield chunk
            raise
        results.append([])
        yield chunk

    await for_each(chunks(), store, at_once=_CHUNKS_AT_ONCE, loop=backend.loop)
    return [result for some in results for result in some]


class _Chunk:
    """Runs that are stored together, which keeps their dicts alive.

    Args:
        number: Which of the chunks it is.

    Attributes:
        number: The same.
        pairs: The runs, with their states.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.pairs: list[tuple[str, dict[str, Any]]] = []
        self._refused: dict[int, InvalidValueError] = {}

    def add(self, run_id: str, state: dict[str, Any], refused: InvalidValueError | None) -> None:
        """Add a run, which may be refused for its dict."""
        if refused is not None:
            self._refused[len(self.pairs)] = refused
        self.pairs.append((run_id, state))

    def refuse_shared(self, run_id: str, state: dict[str, Any]) -> InvalidValueError | None:
        """The error of a further run whose dict a run of this chunk has. None for the same run.

        That one is refused as well, unless it is being stored: it would have the values of the
        further one.
        """
        for index, (other, held) in enumerate(self.pairs):
            if held is state and other != run_id:
                self._refused.setdefault(index, _shared(other, run_id))
                return _shared(run_id, other)
        return None

    async def stored_by(self, submitter: Submitter) -> list[RunResult[Any]]:
        """Store the runs that are not refused, and give the results of all."""
        refused = dict(self._refused)
        accepted = [pair for index, pair in enumerate(self.pairs) if index not in refused]
        stored = iter(await submitter.store(accepted))
        return [
            _result(run_id, refused.get(index) or next(stored))
            for index, (run_id, _) in enumerate(self.pairs)
        ]


def _shared(run_id: str, other: str) -> InvalidValueError:
    return InvalidValueError(
        f"the state of the run {run_id!r} is the very dict that the run {other!r} has, which is "
        "not stored yet. Each would store values of the other. Give each run a copy, such as "
        "dict(defaults), or copy.deepcopy(defaults) where it holds lists or dicts."
    )


def _submitter(core: FlowCore, backend: Backend, arguments: SubmitArguments) -> Submitter:
    return Submitter(
        core.settings,
        core.registry.complete(),
        core.snapshot_handler(),
        core.request(None, once=arguments.once),
        backend=backend,
        due=arguments.due,
    )


def _result(run_id: str, outcome: Header | CheckpointError) -> RunResult[Any]:
    if isinstance(outcome, CheckpointError):
        # Its frames hold the state.
        return RunResult(run_id=run_id, state=None, error=outcome.with_traceback(None))
    return RunResult(run_id=run_id, state=None, error=None, status=outcome.status)


async def requeue_run(
    core: FlowCore,
    backend: Backend,
    run_id: str | None,
    reason: object,
    where: RunFilter = ALL,
) -> Header:
    """Make a stored run due now, and give its header.

    Args:
        core: The flow.
        backend: Calls the store.
        run_id: The run, or None.
        reason: Who does so, or why.
        where: The filter that chose it, which it still has to fit.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
        CheckpointError: It is refused, or the store cannot be read or written.
    """
    handler, actor = core.snapshot_handler(), checked_reason(reason)
    header = await backend.run(requeue_stored, handler, checked_run_id(run_id), actor, where)
    await announce(core.settings, backend, [header], requeued=True)
    return header
