"""The longer messages of errors, with their remedies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "MEMORY_MAP",
    "RefusedRun",
    "describe_drained",
    "describe_refused",
    "describe_unstored",
    "meant_handler",
    "reset_call",
]

_ENTRY = re.compile(r'(state|data)(\["[^"\\]+"\])')
"""The path of a value directly under a key that can be written into a line of Python."""
MEMORY_MAP = "a part of a memory map"
"""The noun in the reason for a value that is to be copied."""
_TAKE_ERROR = "import sys; error = sys.last_value"
_KEPT = {"state": "error.state", "data": 'error.state["checkpoint_data"]'}


def meant_handler(name: str, known: Sequence[str]) -> str:
    """Say which handler a name was probably meant for, as "postgresql" by "postgresql+asyncpg"."""
    from difflib import get_close_matches  # noqa: PLC0415 - for an error alone

    base = name.lower().partition("+")[0]
    meant = [base] if base in known else get_close_matches(base, known, 1)
    return f" Did you mean {meant[0]!r}?" if meant else ""


def reset_call(run_id: str | None) -> str:
    """The call that forgets a checkpoint, such as `reset(run_id='order-42')`."""
    return "reset()" if run_id is None else f"reset(run_id={run_id!r})"


class RefusedRun(NamedTuple):
    """A stored run that the steps of a flow do not fit, as messages describe it.

    Attributes:
        path: Where the checkpoint is.
        position: Index of the step at which it would resume.
        change: By which steps it was written, and the steps of the flow.
        step: The step at which the run is, and which the flow lacks. Else None.
        run_id: The run, or None.
        status: Its status, or None where it is unknown.
    """

    path: str
    position: int
    change: str
    step: str | None
    run_id: str | None
    status: str | None


def describe_refused(run: RefusedRun, *, other: bool, migrates: bool) -> str:
    """Make the message of a `FlowChangedError`.

    Args:
        run: The run.
        other: Whether it is another flow's run.
        migrates: Whether `migrate=` of the flow takes it on by hand.
    """
    if other:
        return _describe_other_flow(run, migrates=migrates)
    if run.step is not None:
        return _describe_step_gone(run)
    return (
        f"the checkpoint in {run.path} was written {run.change}: the first {run.position} must be "
        "the same for the run to resume, so nothing was run. Give them their old names back; or "
        f"{_ways_on(run)}; or forget the checkpoint with {reset_call(run.run_id)}."
    )


def _describe_step_gone(run: RefusedRun) -> str:
    return (
        f"the run in {run.path} did not break, and is at the step {run.step!r} of {run.change}. A "
        "run that was killed, drained or paused keeps its step, so nothing was run. A process of "
        f"the release with that step resumes it. If the step was renamed or removed, "
        f"{_ways_on(run)}."
    )


def _describe_other_flow(run: RefusedRun, *, migrates: bool) -> str:
    if migrates:
        own = f"migrate= takes it on by resume({run.run_id!r}), or aresume"
    elif run.status == "finished":
        own = (
            f"read({run.run_id!r}) gives its state. A flow with a version= from 1 on and a "
            "migrate= gives it as the result too"
        )
    else:
        own = _ways_on(run)
    return (
        f"the run in {run.path} is another flow's of the same name, since no step name is the "
        f"same: it has {run.change}. So nothing was run. Give each flow that shares a place a "
        f"name= of its own. If it is this flow's run, and all steps were renamed, {own}."
    )


def _ways_on(run: RefusedRun) -> str:
    """The ways on with a run whose steps were renamed or removed."""
    migrate = "give the flow a version= from 1 on and a migrate= that takes such runs on; or "
    choose = "choose the step to start from, with the stored state, by checkpoint=<name or index>"
    if run.run_id is None:
        return choose
    if run.status == "paused":
        return (
            f"{migrate}put the answer in and choose the step, by patch(<values>, "
            f"checkpoint=<name or index>, run_id={run.run_id!r}) and resume({run.run_id!r})"
        )
    return f"{migrate}{choose}"


def describe_drained(flow: str, path: str | None, problem: str) -> str:
    """Make the message of a `DrainingError`.

    Args:
        flow: Name of the flow.
        path: Where the checkpoint of the stopped run is. None where no run was stopped.
        problem: What is to be said instead, or "".
    """
    if not problem and path is None:
        problem = (
            "no run starts any more. Start it in the next process, or behind `async with`, which "
            "opens the flow again"
        )
    elif not problem:
        problem = (
            f"the run was stopped on its way, and {path} holds its state. The next process "
            "resumes it, by aresume_all() or by running it again"
        )
    return f"the flow {flow!r} is being drained: {problem}."


def describe_unstored(
    step: str | None,
    offenders: Sequence[tuple[str, str]],
    call: str = "",
    *,
    at_prompt: bool = False,
    paused_step: str | None = None,
    queued: str | None = None,
) -> str:
    """Make the message of an `UnserializableStateError`.

    Args:
        step: The step after which the state could not be stored, or None.
        offenders: Paths of values, with the reasons.
        call: The call that stores the state of the error, or "" where the error has none.
        at_prompt: Whether a person at a prompt sees the message, and has no name for the error.
        paused_step: The step whose pause `update=` was to answer, where that could not be stored.
        queued: The run that was to be queued, or None.
    """
    when = "before the first step" if step is None else f"after step {step!r}"
    if paused_step is not None:
        when = f"with update= for the paused step {paused_step!r}"
    elif queued is not None:
        when = f"of the run {queued!r}"
    found = "; ".join(f"{path}: {why}" for path, why in offenders)
    remedy = "Keep such things out of the state: open them inside the step, or hand them on in "
    if any(path.startswith("data") for path, _ in offenders):
        remedy += "`data` of a flow without keep_data=True, which stores that as well."
    else:
        remedy += "`data` with a loader and a saver."
    stays = "The stored checkpoint is as it was." if queued is None else "Nothing was stored."
    text = f"the state {when} cannot be stored. {found}. {remedy} {stays}"
    if not call:
        return text
    lines = [*([_TAKE_ERROR] if at_prompt else []), *dict.fromkeys(_mends(offenders)), call]
    return (
        f"{text} The work of the step is in the attribute `state` of this error, as long as the "
        "process lives. In a script, catch the error by `except ... as error`, or start the script "
        "by python -i. Mend the state and store it. The next run then goes on behind the step:\n"
        + "\n".join(lines)
    )


def _mends(offenders: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines that mend the state of the error. A comment where it takes more than a line."""
    for path, why in offenders:
        entry = _ENTRY.fullmatch(path)
        if not path.isprintable() or "…" in path:
            continue
        if entry is None:
            yield f"# mend {path} in error.state here"
            continue
        place = f"{_KEPT[entry[1]]}{entry[2]}"
        if MEMORY_MAP in why:
            yield f"# put a copy in the place of {place} here, as by numpy.array()"
        else:
            yield f"del {place}"
