"""The public records that are new in 0.6.0, for `write.py`, and fields that older ones gained."""

from __future__ import annotations

from datetime import UTC, datetime

from golden.history.records import PLACE, RUN, STEP

from aiocheckpoint import (
    FlowVersionError,
    ForeignFileError,
    NoThreadError,
    Pause,
    PauseConflictError,
    RunNotFoundError,
    RunResult,
    RunStatusError,
    RunTerminatedError,
    SeveralFlowsError,
    StateConflictError,
    StorageError,
    Terminate,
    events,
)
from aiocheckpoint.handlers import Ownership, Query, RunFilter, StartRecord


def make_records() -> dict[str, object]:
    """Make each of these records, filled with facts."""
    made = (*_make_errors(), *_make_events())
    return {
        **{type(record).__name__: record for record in made},
        "Ownership": Ownership(StartRecord(2, 1, 3, starts=4, killed=1), owner="pid 12"),
        "Pause-due": Pause("approval", due=datetime.fromtimestamp(1.5, UTC)),
        "Query-where": Query(where=RunFilter(steps=frozenset({"clean"}), error="*Error", tries=2)),
        "RunResult-paused": RunResult(
            run_id="a", state={"n": [1]}, error=None, status="paused", pause_number=3
        ),
        "StepPaused-due": events.StepPaused(**STEP, reason="approval", pause_number=3, due=1.5),
        "StorageError-damaged": StorageError(PLACE, "it is a damaged database.", damaged=True),
        "Terminate": Terminate("the card was declined"),
    }


def _make_events() -> list[events.Event]:
    return [
        events.RunSubmitted(**RUN, due=1.5, requeued=True, reason="the card is valid again"),
        events.RunTerminated(**RUN, step="clean", reason="the card was declined", by="step"),
        events.SnapshotStarted(**RUN, position=2, step="clean"),
    ]


def _make_errors() -> list[BaseException]:
    return [
        FlowVersionError(PLACE, "order-1", 3, 2),
        ForeignFileError(PLACE, "it is a list", remedy="Or adopt it."),
        NoThreadError("no thread can be started."),
        PauseConflictError(PLACE, "it is not paused."),
        RunNotFoundError(PLACE),
        RunStatusError(PLACE, "finished", "it is finished."),
        RunTerminatedError(PLACE, run_id="order-1", reason="the card was declined", by="step"),
        SeveralFlowsError(PLACE, ("orders", "refunds")),
        StateConflictError(PLACE, "order-1", finished=False, step="clean", raised=True),
    ]
