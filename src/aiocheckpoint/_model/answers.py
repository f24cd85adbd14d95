"""Answers to pauses: which pause an answer is for, and whether its run waits in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aiocheckpoint.errors import PauseConflictError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["answer_fit", "awaited_pause", "check_answer", "pause_conflict"]

AnswerFit = Literal["fits", "early", "late"]
"""Whether a run waits for an answer: it does, it may later, or it never will."""

_ENDED = frozenset({"finished", "failed", "cancelled", "terminated"})


def awaited_pause(header: Header | None) -> int:
    """The number of the first pause of a run that can still be answered.

    It is the one that the run waits in, or comes to again as nothing was answered, or the next one.

    Args:
        header: The stored header, or None where nothing is stored.
    """
    if header is None:
        return 1
    is_open = header.status == "paused" or header.pause is not None
    return header.pause_number if is_open else header.pause_number + 1


def answer_fit(header: Header | None, answers: int | None) -> AnswerFit:
    """Compare an answer with the run that it is for.

    Args:
        header: The stored header, or None where nothing is stored.
        answers: The number of the pause that is answered, or None for whichever comes.
    """
    if header is None:
        return "early"
    awaited = awaited_pause(header)
    if header.status in _ENDED or (answers is not None and answers < awaited):
        return "late"
    if header.status == "paused" and answers in {None, awaited}:
        return "fits"
    return "early"


def check_answer(location: str, header: Header | None, answers: int | None) -> None:
    """Raise PauseConflictError for an answer that a run does not wait for."""
    if answer_fit(header, answers) != "fits":
        raise pause_conflict(location, header, answers)


def pause_conflict(location: str, header: Header | None, answers: int | None) -> PauseConflictError:
    """The error for an answer that a run does not wait for."""
    fit = answer_fit(header, answers)
    problem = f"{_problem(location, header, answers)} {_present(header)}"
    return PauseConflictError(
        location,
        f"{problem}. Nothing was stored or run. {_remedy(header, fit)}",
        answers=answers,
        pause_number=header.pause_number
        if header is not None and header.status == "paused"
        else None,
        early=fit == "early",
    )


def _problem(location: str, header: Header | None, answers: int | None) -> str:
    """The words before those for the present state of the run."""
    if header is not None and answers is not None and answers < awaited_pause(header):
        how = " and was answered already" if header.status != "paused" else ""
        return f"pause {answers} of the run in {location} is over{how}:"
    problem = f"update= is for a run that is paused, and in {location}"
    return problem if answers is None else f"pause {answers} has not come: {problem}"


def _present(header: Header | None) -> str:
    if header is None:
        return "nothing is stored"
    if header.status == "paused":
        return f"the run waits in pause {header.pause_number}"
    if header.status == "running" and header.owner is None:
        call = "run()" if header.run_id is None else f"resume({header.run_id!r})"
        return (
            "the run is 'running', though the process that ran it has ended, as far as is known. "
            f"{call} goes on with it"
        )
    return f"the run is {header.status!r}, and waits for no answer"


def _remedy(header: Header | None, fit: AnswerFit) -> str:
    wait = "A wait=, or a longer one, waits for the pause. " if fit == "early" else ""
    if header is None:
        return f"{wait}Is the run_id right? runs() lists the stored runs."
    return (
        f"{wait}header() tells what a run waits for, and patch() changes the state of a run that "
        "is not running."
    )
