"""The card of many runs in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.cards.remedies import remedy_of_runs
from aiocheckpoint._display.html import (
    box,
    code_of,
    cut,
    fitted,
    fold,
    join,
    paragraph,
    quiet,
    sign,
    tag,
    title,
)
from aiocheckpoint._display.live.followed import FollowedRuns
from aiocheckpoint._display.live.runs_figures import (
    ends_shown,
    in_order,
    rate_shown,
    slowest_shown,
)
from aiocheckpoint._display.times import now, passed_and_left

if TYPE_CHECKING:
    from aiocheckpoint._display.cards.remedies import Remedy
    from aiocheckpoint._display.html import Html, Room
    from aiocheckpoint._display.live.displays import DisplaySubject
    from aiocheckpoint.look._live_runs import LiveCounts

__all__ = ["LiveRunsCard"]

_LONGEST = 200


class LiveRunsCard(FollowedRuns):
    """The picture of many runs.

    Args:
        shown: What the display shows.
    """

    def __init__(self, shown: DisplaySubject) -> None:
        super().__init__(shown)
        self._flow = cut(shown.flow, _LONGEST)

    def drawn(self) -> tuple[str, str]:
        """Give the present state as HTML and as text."""
        counts, at = self.counts(), now()
        failures = [cut(one, _LONGEST) for one in [*self.failures][::-1]]
        slowest = ""
        if counts.slowest is not None:
            slowest = f"slowest: {cut(slowest_shown(counts.slowest, at), _LONGEST)}"
        times = self._times(counts, at)
        ends = ends_shown(counts, self.total, is_cut=self.is_cut)
        facts = _runs_shown(counts, self.total), rate_shown(counts), times
        remedy = self._remedy(counts)
        words = "" if remedy is None else f"{remedy.words} {remedy.call}"
        text = [f"{self._flow}: {ends}, {times}", slowest, *failures, words]

        def build(room: Room) -> Html:
            return box(
                title("Runs", cut(self._flow, room.text), *facts),
                _bar(counts, self.total),
                paragraph(join((*_statuses(counts), self.not_begun(counts)), "   ")),
                paragraph(quiet(cut(slowest, room.text))) if slowest else "",
                _failures([cut(one, room.text) for one in failures], counts),
                "" if remedy is None else paragraph(remedy.words, " ", code_of(remedy.call)),
            )

        return str(fitted(build)), "\n".join(filter(None, text))

    def _times(self, counts: LiveCounts, at: float) -> str:
        return passed_and_left(at - self.began, self.left(counts))

    def _remedy(self, counts: LiveCounts) -> Remedy | None:
        if not self.is_over:
            return None
        return remedy_of_runs(counts.ended, begins_more=bool(self.not_begun(counts)))


def _runs_shown(counts: LiveCounts, total: int | None) -> str:
    ended = sum(counts.ended.values())
    return f"{ended:,} runs" if total is None else f"{ended:,} of {total:,} runs"


def _bar(counts: LiveCounts, total: int | None) -> Html | str:
    if not total:
        return ""
    ended = min(sum(counts.ended.values()), total)
    label = f"{ended:,} of {total:,} runs have ended"
    return paragraph(tag("progress", value=ended, max=total, style="width:100%", aria_label=label))


def _statuses(counts: LiveCounts) -> list[Html]:
    shown = [sign(status, f"{number:,} {status}") for status, number in in_order(counts)]
    return [*shown, sign("running", f"{counts.running:,} running")] if counts.running else shown


def _failures(failures: list[str], counts: LiveCounts) -> Html | str:
    if not failures:
        return ""
    number = sum(counts.ended.get(one, 0) for one in ("failed", "terminated"))
    summary = f"{len(failures):,} of {max(number, len(failures)):,} failures, the newest first"
    return fold(summary, tag("ol", *(tag("li", one) for one in failures)), shown=True)
