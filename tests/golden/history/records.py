"""The public records as users may pickle them, for `write.py`: of 0.5.0 and later versions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    CurrentStep,
    DrainingError,
    Failure,
    FlowChangedError,
    FlowDefinitionError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LeaseLostError,
    MissingExtraError,
    NotDurableError,
    OutsideStepError,
    Pause,
    Plan,
    Retry,
    RunInProgressError,
    RunResult,
    StepNamesExcerpt,
    StepTimeoutError,
    StorageError,
    StreamConsumedError,
    UnknownHandlerError,
    UnserializableStateError,
    UntrustedSnapshotError,
    events,
)
from aiocheckpoint.handlers import Query

if TYPE_CHECKING:
    from aiocheckpoint import Header

STEPS = ("collect", "clean", "count", "report")
RUN: dict[str, Any] = {"flow": "orders", "run_id": "order-1", "number": 2}
STEP: dict[str, Any] = {**RUN, "step": "clean", "index": 1, "of": 3}
PLACE = "runs/order-1.pkl"
SINCE = "2026-11-25T12:00:00+00:00"
DIGEST = "0123456789abcdef" * 4


def make_records(failed: Header, large: Header) -> dict[str, object]:
    """Make each public record, filled with facts.

    Args:
        failed: Header of a run that broke.
        large: Header of a run of more than 100 steps.
    """
    return {
        **_make_plain(failed, large),
        **{type(event).__name__: event for event in _make_events(make_plan(failed))},
        **{type(error).__name__: error for error in _make_errors()},
        "FlowChangedError-large": FlowChangedError(
            PLACE, (), STEPS, 3, large.excerpt, change="after 3 steps"
        ),
    }


def make_held(failed: Header, large: Header) -> dict[str, object]:
    """Make the records that a state holds as values."""
    result: RunResult = RunResult(run_id=None, state={"done": []}, error=None, status="stopped")
    return {"header": failed, "large": large, "plan": make_plan(failed), "result": result}


def make_plan(kept: Header | None) -> Plan:
    """Make a plan, from a kept snapshot or from the stored one."""
    return Plan(
        steps=STEPS,
        start=1,
        stop=4,
        loads=(False, True, False, False),
        source="stored" if kept is None else "kept",
        kept=kept,
        fresh=False,
        relocates=True,
        ignores_given=True,
        reason="checkpoint='clean' says so",
    )


def _make_plain(failed: Header, large: Header) -> dict[str, object]:
    failure = Failure(
        step="clean",
        part="save",
        type="builtins.ValueError",
        message="no number: 'x'",
        traceback="Traceback (most recent call last):\nValueError: no number: 'x'\n",
        at=1.5,
        seconds=0.25,
        attempt=3,
    )
    error = UnserializableStateError("clean", [('state["x"]', "socket: cannot be pickled")])
    excerpt = StepNamesExcerpt(
        count=150, begin=70, names=("step-070", "step-071"), done=71, before=DIGEST, whole=DIGEST
    )
    retry = Retry(
        on=(ValueError, OSError),
        attempts=None,
        timeout=timedelta(minutes=1),
        wait_initial=0.5,
        wait_jitter=0,
        wait_exp_base=3.0,
    )
    return {
        "CurrentStep": CurrentStep("orders", "order-1", 2, "clean", 3),
        "Excerpt": excerpt,
        "Failure": failure,
        "Header": failed,
        "Header-large": large,
        "Plan": make_plan(None),
        "Plan-kept": make_plan(failed),
        "Query": Query(frozenset({"failed"}), 10, None, unowned=True, written_before=1.5),
        "Query-after": Query(after=failed),
        "Retry": retry,
        "RunResult": RunResult(run_id="a", state={"n": [1]}, error=None, status="finished"),
        "RunResult-error": RunResult(run_id=None, state=None, error=error),
    }


def _make_events(plan: Plan) -> list[events.Event]:
    error = ValueError("no number: 'x'")
    damaged = CorruptSnapshotError(PLACE, "its digest differs")
    return [
        events.Event(**RUN),
        events.RunStarted(**RUN, plan=plan),
        events.SnapshotSkipped(**RUN, error=damaged),
        events.StepEvent(**STEP),
        events.StepStarted(**STEP, attempt=2),
        events.StepLoaded(**STEP, seconds=0.5),
        events.StepFinished(**STEP, seconds={"load": 0.5, "step": 1.5}, result_ignored=True),
        events.SnapshotWritten(**RUN, position=2, bytes=1_000, seconds=0.125),
        events.AttemptFailed(**STEP, part="load", attempt=1, error=error, seconds=0.5),
        events.StepPaused(**STEP, reason="approval"),
        events.StepFailed(
            **STEP, part="step", error=error, attempt=2, cancelled=False, seconds=0.5
        ),
        events.RunFinished(**RUN, status="paused", position=1, seconds=2.5),
    ]


def _make_errors() -> list[BaseException]:
    return [
        CheckpointError("a text"),
        CorruptSnapshotError(PLACE, "its digest differs"),
        DrainingError("orders", PLACE),
        FlowChangedError(
            PLACE, ("collect", "tidy", "count"), STEPS, 2, change="after 2 steps", difference=1
        ),
        FlowDefinitionError("no step", step="clean"),
        IncompatibleSnapshotError(PLACE, "it holds code of another Python", written_by="3.12.1"),
        InvalidTypeError("a text"),
        InvalidValueError("a text"),
        LeaseLostError(PLACE),
        MissingExtraError("retry=", "stamina", "pip install 'aiocheckpoint[retry]'"),
        NotDurableError(PLACE, "flushing failed", errno=5),
        OutsideStepError(),
        Pause("approval"),
        RunInProgressError(PLACE, pid=12, host="web-1", since=SINCE),
        StepTimeoutError("clean", "load", 1.5),
        StorageError(PLACE, "writing failed", errno=28),
        StreamConsumedError(),
        UnknownHandlerError("redis", ("local", "sqlite")),
        UnserializableStateError("clean", [('state["x"]', "socket: cannot be pickled")]),
        UntrustedSnapshotError(PLACE, "it is not signed"),
    ]
