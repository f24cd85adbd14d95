"""Decides which loaders of a flow run, from the load policy and from what its steps need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.request import LoadPolicy, LoadWord
    from aiocheckpoint._model.steps import Step

__all__ = ["LoaderChoice", "check_policy", "checked_word", "choose_loaders"]

_WORDS = ("first only", "always")


class LoaderChoice(NamedTuple):
    """The loaders of a run, with the attributes of `Plan`."""

    loads: tuple[bool, ...]
    needs: tuple[tuple[str, ...], ...]
    skips: tuple[str, ...]


def checked_word(policy: object) -> LoadWord:
    """Give the default policy of a flow back if it is one of the two words.

    Raises:
        InvalidTypeError, InvalidValueError: It is none.
    """
    if not isinstance(policy, str) or policy not in _WORDS:
        kind = InvalidValueError if isinstance(policy, str) else InvalidTypeError
        found = repr(policy) if isinstance(policy, str) else f"a {type(policy).__name__}"
        raise kind(
            f"load_policy= of a flow is 'first only' or 'always', not {found}. A list of bools is "
            "for run() and arun(), once the flow has its steps."
        )
    return "always" if policy == "always" else "first only"


def check_policy(steps: Sequence[Step], policy: LoadPolicy) -> None:
    """Raise InvalidTypeError or InvalidValueError if `policy` does not fit these steps."""
    _loads(steps, None, (0, 0), policy)


def choose_loaders(
    steps: Sequence[Step], first: int | None, span: tuple[int, int], policy: LoadPolicy
) -> LoaderChoice:
    """Decide which loaders run.

    Args:
        steps: The steps.
        first: Index of the step whose loader "first only" calls, None where `data` is restored.
        span: Index of the first step that runs, and the index after the last.
        policy: The caller's `load_policy`.

    Raises:
        InvalidTypeError, InvalidValueError: `policy` does not fit the steps.
    """
    loads = _loads(steps, first, span, policy)
    needs: list[tuple[str, ...]] = [()] * len(steps)
    skips: list[str] = []
    for index in range(*span):
        step = steps[index]
        if step.load is None or loads[index]:
            continue
        if step.needs and isinstance(policy, str):  # A list says exactly which loaders run.
            needs[index] = step.needs
        else:
            skips.append(step.name)
    return LoaderChoice(loads, tuple(needs), tuple(skips))


def _loads(
    steps: Sequence[Step], first: int | None, span: tuple[int, int], policy: LoadPolicy
) -> tuple[bool, ...]:
    start, stop = span
    if policy == "first only":
        wanted = [index == first for index in range(len(steps))]
    elif policy == "always":
        wanted = [True] * len(steps)
    else:
        wanted = _checked_list(policy, len(steps))
    # In an executor `data` begins empty, so the loader of such a step is called always.
    return tuple(
        (wanted[index] or step.executor is not None)
        and step.load is not None
        and start <= index < stop
        for index, step in enumerate(steps)
    )


def _checked_list(policy: object, length: int) -> list[bool]:
    if isinstance(policy, str):
        raise InvalidValueError(
            f"load_policy={policy!r} is unknown. It is 'first only', 'always', or a list of "
            f"{length} bools, one for each step. The id of a run is given by run_id=."
        )
    listed = isinstance(policy, (list, tuple))
    wanted = list(cast("list[object]", policy)) if listed else None
    if wanted is None or not all(isinstance(one, bool) for one in wanted):
        raise InvalidTypeError(
            "load_policy must be 'first only', 'always' or a list of bools, one for each of the "
            f"{length} steps, not {_kind(type(policy), wanted)}."
        )
    if len(wanted) != length:
        raise InvalidValueError(
            f"load_policy has {len(wanted)} bools, and the flow has {length} steps. Give one each."
        )
    return cast("list[bool]", wanted)


def _kind(kind: type, content: list[object] | None) -> str:
    kinds = sorted({type(one).__name__ for one in content or ()})
    return f"a {kind.__name__}" + (f" of {', '.join(kinds)}" if kinds else "")
