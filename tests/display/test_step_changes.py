"""What changed in each step, in the card and the text of a run."""

from __future__ import annotations

from typing import Any

import pytest
from card_checks import HOSTILE, checked_card

from aiocheckpoint._display.cards.diff_card import diff_card, diff_text
from aiocheckpoint._display.cards.run_card import run_card, run_text
from aiocheckpoint.look import ChangeView, DiffView, RunView, SnapshotView, StepView

STEPS = ("reserve", "charge", "invoice")
ADDED = ChangeView(path="paid", kind="added", new=1_200, new_type="int")
CHANGED = ChangeView(path="n", kind="changed", old="a", new="b", old_type="str", new_type="str")
REMOVED = ChangeView(path="tmp", kind="removed", old=None, old_type="NoneType")


def entry(at: int, sequence: int = 1, **facts: Any) -> SnapshotView:  # noqa: ANN401
    """A snapshot on entry to a step, or behind the last one."""
    at_end = at == len(STEPS)
    known: dict[str, Any] = {
        "number": 1,
        "position": 0 if at_end else at,
        "step": None if at_end else STEPS[at],
        "status": "finished" if at_end else "running",
        "written_at": 1_000.0,
        "size": 700,
        "newest": False,
    }
    return SnapshotView(sequence=sequence, **{**known, **facts})


LOST: dict[str, Any] = {
    "step": None,
    "position": 0,
    "written_at": 0.0,
    "status": "damaged",
    "damage": "it is cut",
}
"""The facts of a snapshot whose header cannot be read."""


def diff(old: SnapshotView, new: SnapshotView, *changes: ChangeView, **facts: Any) -> DiffView:  # noqa: ANN401
    """The differences between two snapshots."""
    made: dict[str, Any] = {"same": (), **facts}
    return DiffView(flow="orders", run_id="x", old=old, new=new, changes=changes, **made)


def run_of(*diffs: DiffView, count: int = 3) -> RunView:
    """A run whose changes are these."""
    steps = tuple(
        StepView(index=index, name=name, status="done") for index, name in enumerate(STEPS)
    )
    return RunView(
        flow="orders",
        run_id="x",
        location="",
        status="finished",
        steps=steps,
        step_count=count,
        diffs=diffs,
    )


def shown(run: RunView) -> tuple[str, str]:
    """The text of the fold in the card, and the line of the text."""
    card = checked_card(run_card(run)).partition("what changed in each step ")[2]
    return card.replace(" :", ":"), next(
        (line for line in run_text(run).split("\n") if line.startswith("changes: ")), ""
    )


def test_changes_are_named_by_step() -> None:
    """Each step has its changes by kind, with the sign and the word, and no value."""
    run = run_of(
        diff(entry(0), entry(1)),
        diff(entry(1), entry(2), ADDED, CHANGED, REMOVED),
        diff(entry(2), entry(3), ADDED, complete=False),
    )
    card, text = shown(run)
    assert card == (
        "reserve: nothing charge: + added paid, ~ changed n, - removed tmp invoice: + added paid, "
        "The states are too large to be compared as a whole: there may be more."
    )
    assert text == (
        "changes: reserve: nothing; charge: added paid, changed n, removed tmp; invoice: added "
        "paid, The states are too large to be compared as a whole: there may be more."
    )


def test_values_on_demand() -> None:
    """With values, each change has its own line with the values."""
    card, text = shown(run_of(diff(entry(1), entry(2), ADDED, CHANGED, shown=True)))
    assert "charge: + added paid 1200 ~ changed n 'a' -> 'b'" in card
    assert text == "changes: charge: added paid, changed n"


@pytest.mark.parametrize(
    ("old", "new", "label"),
    [
        (entry(0), entry(1), "reserve: "),
        (entry(2), entry(3), "invoice: "),
        (entry(0), entry(3), "reserve to invoice: "),
        (entry(1), entry(1), "before charge: "),
        (entry(3), entry(1), "back to charge: "),
        (entry(2), entry(0), "back to reserve: "),
        (entry(1), entry(2, **LOST), "charge: "),
        (entry(1, **LOST), entry(2), "charge: "),
        (entry(1, **LOST), entry(3), "invoice: "),
        (entry(1, **LOST), entry(0), "before reserve: "),
        (entry(1, **LOST), entry(2, **LOST), "reserve: "),
    ],
)
def test_labels(old: SnapshotView, new: SnapshotView, label: str) -> None:
    """A diff is named by the steps that ran between its snapshots, or by where none did."""
    card, text = shown(run_of(diff(old, new, ADDED)))
    assert f" {label}" in f" {card}"
    assert text.startswith(f"changes: {label}")


def test_nothing_to_tell() -> None:
    """There is no fold where nothing was asked for, kept or changed but the place."""
    for run in (run_of(), run_of(diff(entry(1), entry(1)), diff(entry(3), entry(1)))):
        assert shown(run) == ("", "")


def test_steps_before_are_told() -> None:
    """Where the first snapshot is not that of the beginning, the card says so."""
    assert "earlier steps are not kept" in shown(run_of(diff(entry(1), entry(2), ADDED)))[0]
    assert "earlier steps" not in shown(run_of(diff(entry(0), entry(1), ADDED)))[0]


def test_a_snapshot_that_cannot_be_read() -> None:
    """Its reason is told, and nowhere that nothing differs."""
    one = diff(entry(0), entry(1, 7, **LOST), complete=False)
    for told in (*shown(run_of(one)), checked_card(diff_card(one)), diff_text(one)):
        assert "Not compared: snapshot 7 is damaged: it is cut" in told
        assert "othing" not in told


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("values", [False, True])
def test_nothing_breaks_out(hostile: str, values: bool) -> None:  # noqa: FBT001
    """Keys, values, steps and reasons of strangers are escaped, and the card stays small."""
    changes = [
        ChangeView(path=f"{hostile}{number}", kind=kind, new=hostile, new_type=hostile)
        for number in range(200)
        for kind in ("added", "removed", "changed", "rewritten", hostile)
    ]
    odd = {"step": hostile, "damage": hostile}
    diffs = [
        diff(entry(0, number, **odd), entry(1, number + 1), *changes, shown=values, complete=False)
        for number in range(19)
    ]
    run = run_of(*diffs)
    card, text = shown(run)
    assert "more" in card
    assert "changes: … " in text
    assert text.isprintable()
    assert len(text) < 2_500
