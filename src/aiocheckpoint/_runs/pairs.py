"""Many given runs: a mapping of states by run id, or an iterable of pairs, sync or async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from typing import Any, cast

from aiocheckpoint._model.state_type import Data, StateT
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import InvalidTypeError
from aiocheckpoint.handlers._identifiers import checked_run_id

__all__ = ["Runs", "checked_pairs", "checked_runs"]

Runs = Mapping[str, StateT] | Iterable[tuple[str, StateT]] | AsyncIterable[tuple[str, StateT]]
"""States by run id, in a mapping, or as pairs from an iterable, sync or async."""

_OF_ONE = ("submit", "asubmit")
"""The methods that also take one state, by `run_id=`."""


@calls_user_code
async def checked_pairs(
    runs: Runs, method: str, check: Callable[[], object] = lambda: None
) -> AsyncGenerator[tuple[str, Data], None]:
    """Give the pairs of run id and state one by one.

    Args:
        runs: The runs, as `checked_runs` gives them back.
        method: Name of the method that they were given to.
        check: Called before the first pair and after each. It raises to end the work.

    Raises:
        InvalidTypeError: An item is no such pair.
    """
    check()
    if isinstance(runs, AsyncIterable):
        async for pair in runs:
            yield _checked_pair(pair, method)
            check()
        return
    for pair in runs.items() if isinstance(runs, Mapping) else runs:
        yield _checked_pair(pair, method)
        check()


def checked_runs(runs: Any, method: str) -> Runs:  # noqa: ANN401 - any argument of a user
    """Give `runs` back if it is an iterable. The items of a mapping are checked at once.

    Raises:
        InvalidTypeError, InvalidValueError: It is none, or a mapping holds other items than
            states by run id.
    """
    if isinstance(runs, Mapping):
        for run_id, state in cast("Mapping[object, object]", runs).items():
            _checked_pair((run_id, state), method)
            checked_run_id(cast("str", run_id))
    elif isinstance(runs, (str, bytes)) or not isinstance(runs, (Iterable, AsyncIterable)):
        raise InvalidTypeError(
            f"{method}() takes a dict of states by run id, or an iterable, sync or async, of pairs "
            f"(run_id, state), not a {type(runs).__name__}."
        )
    return cast("Runs", runs)


def _checked_pair(pair: object, method: str) -> tuple[str, Data]:
    if isinstance(pair, tuple):
        parts = cast("tuple[object, ...]", pair)
        if len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], dict):  # noqa: PLR2004
            return cast("tuple[str, Data]", parts)
        found = f"({', '.join(type(part).__name__ for part in parts)})"
    else:
        found = f"a {type(pair).__name__}"
    one = f" The state of one run takes its id: {method}(state, run_id=...)."
    raise InvalidTypeError(
        f"{method}() takes pairs of a run id and a state, a str and a dict, not {found}."
        f"{one if method in _OF_ONE else ''}"
    )
