"""The filter that the options of a command ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from aiocheckpoint._cli.command_parser import nearest
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.times import parse_time
from aiocheckpoint._model.header import Status
from aiocheckpoint.handlers._run_filter import RunFilter
from aiocheckpoint.handlers._urls import redact_url

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

__all__ = ["asks_for_some", "filter_of", "filter_words", "statuses_of"]

_STATUSES: tuple[str, ...] = get_args(Status)
_CONTRADICTIONS = {
    "times": (
        "--since is not earlier than --before, so that no run fits both. --since is the first "
        "moment, and --before the one behind the last."
    ),
    "stale": (
        "--stale chooses runs that are shown as running, and --status leaves them out. Take one "
        "of the two away."
    ),
}


def filter_of(arguments: Namespace) -> RunFilter:
    """Make the filter of the options of `add_filters`.

    Raises:
        UsageProblem: A status is unknown, a time is none, `--tried` is below 1, or no run can fit
            all of them.
    """
    if arguments.tried is not None and arguments.tried < 1:
        raise UsageProblem("--tried counts attempts, from 1 on.")
    where = RunFilter(
        statuses=statuses_of(arguments.status) or None,
        steps=frozenset(arguments.step) or None,
        error=arguments.error,
        ids=arguments.id,
        since=None if arguments.since is None else parse_time(arguments.since),
        before=None if arguments.before is None else parse_time(arguments.before),
        tries=arguments.tried,
        stale=arguments.stale,
    )
    if where.contradiction is not None:
        raise UsageProblem(_CONTRADICTIONS[where.contradiction])
    return where


def filter_words(arguments: Namespace) -> list[str]:
    """Give the options of `add_filters` as the words that ask for them again."""
    words = [word for text in arguments.status for word in _option("status", text)]
    words += [word for name in arguments.step for word in _option("step", name)]
    for option in ("error", "id", "tried", "since", "before"):
        value = getattr(arguments, option)
        if value is not None:
            words += _option(option, str(value))
    return words + ["--stale"] * arguments.stale


def _option(name: str, value: str) -> list[str]:
    """The words of an option. A value that begins with a dash would be taken for an option."""
    return [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]


def asks_for_some(where: RunFilter) -> bool:
    """Whether a filter leaves runs out."""
    return where != RunFilter()


def statuses_of(given: Iterable[str]) -> frozenset[Status]:
    """Read the words of `--status`: statuses in any case of letters, several by commas.

    Raises:
        UsageProblem: One is unknown.
    """
    return cast("frozenset[Status]", frozenset(_statuses(given)))


def _statuses(given: Iterable[str]) -> Iterable[str]:
    for words in given:
        for word in filter(None, words.lower().replace(" ", "").split(",")):
            if word not in _STATUSES:
                raise UsageProblem(
                    f"there is no status {redact_url(word)!r}.{nearest(word, _STATUSES)} "
                    f"The statuses are {', '.join(_STATUSES)}."
                )
            yield word
