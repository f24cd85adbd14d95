"""Logs on the logger `aiocheckpoint`, each record with the run that it is about."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocheckpoint._errors.storage import defect_of
from aiocheckpoint._model.current_step import step_in_progress
from aiocheckpoint._model.interactive import is_interactive
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan

__all__ = [
    "LARGE_BYTES",
    "NOWHERE",
    "RunPlace",
    "is_logged",
    "log",
    "log_conflict",
    "log_drain_not_noted",
    "log_left_out",
    "log_look_failed",
    "log_refused",
    "log_signed_otherwise",
    "log_skipped",
    "log_unknown_owner",
    "log_waiting",
    "log_waiting_more",
    "place_of",
    "tell",
    "tell_resumed",
    "warn_large",
    "warn_unflushed",
]

LARGE_BYTES = 100_000_000
"""A larger snapshot should not be written after every step.

A disk of 1 GB a second needs a tenth of a second for it.
"""

_logger = logging.getLogger("aiocheckpoint")

_logged_refusals: set[str] = set()
"""The errors that are logged once in a process. A forked child logs its own.

There is no lock, as a signal handler may log as well. Each change is one operation of the set. Two
threads that meet an error at the same moment may both log it.
"""
_MOST_REFUSALS = 1000


class RunPlace(NamedTuple):
    """What a log record is about. Each record has these four as attributes.

    Attributes:
        flow: Name of the flow, or None where the record is about no run.
        run_id: The run's id, or None.
        step: Name of the step, or None.
        attempt: Number of the attempt at the step, or None.
    """

    flow: str | None = None
    run_id: str | None = None
    step: str | None = None
    attempt: int | None = None

    @property
    def run(self) -> str:
        """The flow and the run in words."""
        return f"{self.flow}" if self.run_id is None else f"{self.flow}[{self.run_id!r}]"


NOWHERE = RunPlace()


def place_of(flow: str, run_id: str | None) -> RunPlace:
    """The place of a run, with the step that runs in this context if it is one of that run."""
    current = step_in_progress()
    if current is None or (current.flow, current.run_id) != (flow, run_id):
        return RunPlace(flow, run_id)
    return RunPlace(flow, run_id, current.step, current.attempt)


def log(
    level: int,
    place: RunPlace,
    message: str,
    *args: object,
    error: BaseException | None = None,
) -> None:
    """Log a record. Every record of the library goes this way.

    Args:
        level: Its level.
        place: What it is about.
        message: The message, with a "%" for each of `args`.
        args: The values for it.
        error: An exception whose traceback is logged, or None.
    """
    if _logger.isEnabledFor(level):
        facts = _free_facts(level, place)
        _logger.log(level, message, *args, exc_info=error, extra=facts, stacklevel=2)


def _free_facts(level: int, place: RunPlace) -> dict[str, Any]:
    """The attributes of a record, without those that the program's record factory sets itself.

    The `logging` module raises a KeyError for an attribute that is set twice.
    """
    facts = place._asdict()
    if logging.getLogRecordFactory() is logging.LogRecord:
        return facts
    made = vars(_logger.makeRecord(_logger.name, level, "", 0, "", (), None))
    return {name: value for name, value in facts.items() if name not in made}


def is_logged() -> bool:
    """Whether events at INFO are logged. If not, only warnings need to be emitted."""
    return _logger.isEnabledFor(logging.INFO)


def tell(line: str) -> None:
    """Print a line to stderr, for the person at an interactive session."""
    with suppress(Exception):  # It may be closed, or None.
        sys.stderr.write(f"aiocheckpoint: {line}\n")


def tell_resumed(header: Header, plan: Plan) -> None:
    """Say at an interactive session where a run is resumed, and why, unless it is logged."""
    if not _logger.hasHandlers() and is_interactive():
        start = str(plan).partition("\n")[0]
        run = RunPlace(header.flow, header.run_id).run
        tell(f"{run}: run {header.number}. {start}")


def log_refused(flow: str, run_id: str | None, error: Exception, *, once: bool = False) -> None:
    """Log that a run that nobody awaits was refused, or ended outside of its steps.

    Args:
        flow: Name of the flow.
        run_id: The run, or None.
        error: Why.
        once: Whether the same error is logged once in this process. Recovery meets a run that it
            leaves alone each time. After a thousand such errors, no further one is logged.
    """
    place = RunPlace(flow, run_id)
    why = str(error) if isinstance(error, CheckpointError) else type(error).__name__
    why = " ".join([why, *_own_notes(error)])
    args = (place, "%s: the run does not go on: %s", place.run, why)
    if once:
        _log_once(why, logging.ERROR, *args)
    else:
        log(logging.ERROR, *args)


def _log_once(why: str, level: int, place: RunPlace, message: str, *args: object) -> None:
    """Log why a run is left alone, unless the process has logged the same, or too much of it."""
    if why in _logged_refusals or len(_logged_refusals) >= _MOST_REFUSALS:
        return
    log(level, place, message, *args)
    _logged_refusals.add(why)
    if len(_logged_refusals) >= _MOST_REFUSALS:
        words = "Further runs that recovery leaves alone are not logged in this process."
        log(logging.ERROR, NOWHERE, words)


def _own_notes(error: Exception) -> list[str]:
    """The notes that this library has added to an exception. Others may hold values of a state."""
    own = "aiocheckpoint: "
    notes: object = getattr(error, "__notes__", ())
    if not isinstance(notes, (list, tuple)):  # A user's class may set anything.
        return []
    found = cast("Iterable[object]", notes)
    return [
        note.removeprefix(own) for note in found if isinstance(note, str) and note.startswith(own)
    ]


def log_conflict(flow: str, run_id: str | None, problem: str) -> None:
    """Warn that a given state is ignored."""
    place = RunPlace(flow, run_id)
    log(logging.WARNING, place, "%s: %s", place.run, problem)


def warn_large(header: Header, size: int, location: str, largest: tuple[str, int]) -> None:
    """Warn of a snapshot that is too large to be written after every step.

    Args:
        header: Its header.
        size: Its bytes.
        location: Where it is.
        largest: The path of its largest value, and the bytes of that one.
    """
    path, of_it = largest
    if not header.holds_data:
        remedy = "Keep large values in `data`, with a loader and a saver"
    elif path.startswith("data"):
        remedy = (
            "keep_data=True stores `data` as well: without it, savers write large values away, "
            "and loaders bring them back"
        )
    else:
        remedy = (
            "Let a saver write it to a file, and keep the path in the state. keep_data=True "
            "stores `data` as well"
        )
    found = os.path.isfile(location)
    hint = f"; aiocheckpoint.inspect({location!r}).sizes has the bytes of each" if found else ""
    log(
        *(logging.WARNING, place_of(header.flow, header.run_id)),
        "%s: a snapshot has %d MB, and one is written after every step. The largest value, %s, "
        "has %d MB. %s%s.",
        *(header.flow, size // 1_000_000, path, of_it // 1_000_000, remedy, hint),
    )


def warn_unflushed(directory: str) -> None:
    """Warn of a file system that cannot flush directories."""
    log(
        *(logging.WARNING, NOWHERE),
        "The file system of %s cannot flush directories. Snapshots are flushed themselves, yet a "
        "power cut may bring back an older one. A local disk does without that risk, and "
        "fsync=False does without this warning.",
        directory,
    )


# Errors are logged as text: a kept record would keep a traceback, and so an open database.


def log_skipped(error: CheckpointError, place: RunPlace) -> None:
    """Warn that an older snapshot is used in place of the newest one."""
    words = "An older snapshot is used, since this one cannot be: %s"
    log(logging.WARNING, place, words, defect_of(error))


def log_waiting(place: RunPlace, seconds: float | None) -> None:
    """Warn that a drain waits for a run, `seconds` in its step, or for one in no step."""
    if seconds is None:
        words = "The drain waits for the run %s, which is in no step. Its store may hang"
        log(logging.WARNING, place, words, place.run)
        return
    words = "The drain waits for step %r of the run %s, which has been going on for %.0f s"
    log(logging.WARNING, place, words, place.step, place.run, seconds)


def log_waiting_more(flow: str, number: int) -> None:
    """Warn that a drain waits for further runs."""
    log(logging.WARNING, RunPlace(flow), "The drain waits for %d runs more", number)


def log_drain_not_noted(flow: str, error: Exception) -> None:
    """Warn that the starts of a flow's runs count as killed if the process is killed now."""
    words = "It is not noted that the flow drains, whose runs count as killed if it is killed: %s"
    log(logging.WARNING, RunPlace(flow), words, str(error))


def log_unknown_owner(error: CheckpointError, place: RunPlace) -> None:
    """Warn that a run is shown as one that nobody owns."""
    log(logging.WARNING, place, "The owner of a listed run cannot be read: %s", str(error))


def log_left_out(error: CheckpointError, place: RunPlace) -> None:
    """Warn that a run is left out of a list, once in this process for what is stored of it."""
    why = str(error)
    words = "A run is left out of the list, since it cannot be read: %s"
    _log_once(why, logging.WARNING, place, words, why)


def log_look_failed(flow: str, error: CheckpointError) -> None:
    """Log that a worker cannot read its store. It goes on, and looks again."""
    words = "Runs that are due cannot be listed. The worker looks again until they can: %s"
    log(logging.ERROR, RunPlace(flow), words, str(error))


def log_signed_otherwise(path: str, locations: list[str]) -> None:
    """Warn of runs that `adopt_all` passed over: they are signed with a secret not given to it."""
    log(
        *(logging.WARNING, NOWHERE),
        "%s: %d runs are signed with a secret that is not among those of secret=, and stay as they "
        "are, such as %s. To sign them anew, pass that secret too: secret=[new, old].",
        *(path, len(locations), locations[0]),
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_logged_refusals.clear)
