"""The public records that are new in 0.7.0, for `write.py`, and fields that older ones gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golden.history.records import RUN, STEP, make_plan

from aiocheckpoint import events

if TYPE_CHECKING:
    from aiocheckpoint import Header


def make_records(failed: Header) -> dict[str, object]:
    """Make each of these records, filled with facts.

    Args:
        failed: Header of a run that broke.
    """
    progressed = events.StepProgressed(**STEP, done=3, total=7.5, note="files", attempt=2)
    return {
        "EventsDropped": events.EventsDropped(flow="orders", run_id="order-1", number=0, count=12),
        "StepProgressed": progressed,
        "StepProgressed-alone": events.StepProgressed(
            **STEP, done=0.5, total=None, note=None, attempt=1
        ),
        "RunStarted-header": events.RunStarted(**RUN, plan=make_plan(failed), header=failed),
    }
