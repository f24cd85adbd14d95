"""The card and the text of a run: what they tell, and what no name or error makes of them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from card_checks import HOSTILE, checked_card

from aiocheckpoint import Failure
from aiocheckpoint._display.cards.run_card import run_card, run_text
from aiocheckpoint._display.signs import SIGNS
from aiocheckpoint._display.times import now
from aiocheckpoint.look import KeyView, ProgressView, RunView, StepView

FAILURE = Failure(
    step="charge",
    part="step",
    type="httpx.ConnectTimeout",
    message="no answer of pay.example.com",
    traceback="Traceback (most recent call last):\n  line 7, in charge\nConnectTimeout",
    at=1_000.0,
    seconds=10.0,
    attempt=5,
)
STEPS = (
    StepView(index=0, name="reserve", status="done", seconds=0.031, attempts=1),
    StepView(index=1, name="charge", status="failed", attempts=5),
    StepView(index=2, name="invoice", status="waiting"),
)
FAILED = RunView(
    flow="orders",
    run_id="order-42",
    location="orders.db",
    status="failed",
    number=1,
    sequence=8,
    position=1,
    step="charge",
    step_count=3,
    steps=STEPS,
    tries=5,
    failure=FAILURE,
    started_at=900.0,
    written_at=1_000.0,
    size=812,
    sizes={"order": 24, "note": 36},
)
RUNNING = replace(
    FAILED,
    status="running",
    steps=(
        STEPS[0],
        StepView(index=1, name="fit", status="running", done=1_240, total=2_000, note="rows"),
        STEPS[2],
    ),
    step="fit",
    failure=None,
    owner="process 7",
)


def steps_of(count: int, at: int) -> tuple[StepView, ...]:
    """Make the steps of a run that stands at one of them."""
    return tuple(
        StepView(
            index=index,
            name=f"step number {index}",
            status="done" if index < at else "running" if index == at else "waiting",
            seconds=index / 7 if index < at else None,
        )
        for index in range(count)
    )


def test_failed_run_tells_all() -> None:
    """It has the run, the steps with words, the error, its traceback, the state and the remedy."""
    text = checked_card(run_card(FAILED))
    for words in (
        "Run order-42 of orders",
        "✗ failed at 2 of 3, charge",
        "✓ done reserve",
        "0.03 s",
        "✗ failed charge",
        "10.0 s, 5 tries, httpx.ConnectTimeout in its part 'step'",
        "· waiting invoice",
        "httpx.ConnectTimeout: no answer of pay.example.com",
        "line 7, in charge",
        "state: 2 keys, 60 bytes",
        "snapshot 8 of run 1",
        "812 bytes",
    ):
        assert words in text
    assert text.endswith("Mend 'charge', then run again: it resumes there. cp.resume('order-42')")


def test_text_tells_the_same() -> None:
    """Lines of text have the run, the steps, the error, the state and the remedy."""
    lines = run_text(FAILED).splitlines()
    assert lines[0].startswith("order-42 of orders: ✗ failed at 2 of 3, charge")
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["✓", "done", "reserve"],
        ["✗", "failed", "charge"],
        ["·", "waiting", "invoice"],
    ]
    assert lines[4:] == [
        "httpx.ConnectTimeout: no answer of pay.example.com",
        "state: 2 keys, 60 bytes",
        "Mend 'charge', then run again: it resumes there. cp.resume('order-42')",
    ]


def test_run_in_progress_shows_how_far_it_is() -> None:
    """The step in progress has a bar with its share, its report, and the time that is left."""
    fit = replace(RUNNING.steps[1], ends_at=now() + 90.5)
    html = run_card(replace(RUNNING, steps=(STEPS[0], fit, STEPS[2])))
    text = checked_card(html)
    assert ' value="0.62" max="1"></progress>' in html
    assert "1,240/2,000 rows, about 2 min left" in text
    assert "process 7" in text


@pytest.mark.parametrize(
    ("own", "later", "words"),
    [
        (90.5, 150.0, "about 4 min left, by its progress and earlier runs"),
        (0.0, 150.0, "about 4 min left, by earlier runs"),
        (90.5, None, None),
    ],
)
def test_time_left_says_by_what(own: float, later: float | None, words: str | None) -> None:
    """The time that a run still takes is by its step, by earlier runs, or by both."""
    at = now()
    fit = replace(RUNNING.steps[1], ends_at=own and at + own, began=at, expected=90.5)
    run = replace(RUNNING, steps=(STEPS[0], fit, replace(STEPS[2], expected=later)))
    for shown in (checked_card(run_card(run)), run_text(run)):
        assert (words or "about") in shown
        assert ("earlier runs" in shown) is (words is not None)
    last = replace(run, steps=run.steps[:2], step_count=2)
    words = "by its progress" if own else "by earlier runs"
    for shown in (checked_card(run_card(last)), run_text(last)):
        assert f"about 2 min left, {words}" in shown
        assert ("earlier runs" in shown) is (own == 0.0)


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        pytest.param({}, "charge", "stored", id="failed"),
        pytest.param({"status": "running"}, "stored ", "by a", id="in progress"),
        pytest.param(
            {"status": "stopped", "stopped_by": "until"}, "by the argument until=", "", id="until"
        ),
        pytest.param({"status": "stopped", "stopped_by": "drain"}, "by a drain", "", id="drain"),
        pytest.param(
            {
                "status": "cancelled",
                "failure": replace(FAILURE, type="KeyboardInterrupt", message=""),
            },
            "⊘ KeyboardInterrupt",
            "KeyboardInterrupt:",
            id="cancelled",
        ),
    ],
)
def test_words_of_a_run(changes: dict[str, Any], expected: str, absent: str) -> None:
    """Times have their dates, a run in progress says what was stored then, and why it stopped."""
    at = datetime(2026, 11, 30, 12, 0, 0).timestamp()  # noqa: DTZ001 - in the local zone, as shown
    run = replace(FAILED, written_at=at, **changes)
    card, text = checked_card(run_card(run)), run_text(run)
    for shown in (card, text):
        assert "(2026-11-30 12:00:00)" in shown
        assert expected.removeprefix("⊘ ") in shown
        assert not absent or absent not in shown
    assert expected in card


def test_amount_of_a_step_that_has_ended() -> None:
    """A live card keeps how far its step was. A stored run has one line for it, with its date."""
    steps = (replace(STEPS[1], done=71.0, total=200.0, note="pages"),)
    run = replace(FAILED, steps=steps)
    for shown in (checked_card(run_card(run)), run_text(run)):
        assert "71/200 pages done" in shown
    at = datetime(2026, 11, 30, 12, 0, 0).timestamp()  # noqa: DTZ001 - as above
    stored = ProgressView(step="charge", done=71.0, total=200.0, note="pages", at=at)
    for shown in (
        checked_card(run_card(replace(run, progress=stored))),
        run_text(replace(run, progress=stored)),
    ):
        assert "71/200 pages done" not in shown
        assert "71/200 pages of 'charge' were done" in shown
        assert "ago (2026-11-30 12:00:00)" in shown


def test_size_that_is_unknown_is_left_out() -> None:
    """A header does not know the bytes of its snapshot."""
    text = checked_card(run_card(replace(FAILED, size=0)))
    assert "snapshot 8 of run 1" in text
    assert "0 bytes" not in text.replace("60 bytes", "")


@pytest.mark.parametrize("status", [*SIGNS, "of a later release"])
def test_every_status_has_sign_and_word(status: str) -> None:
    """A status is told by its word beside its sign, in cards and in texts."""
    run = replace(FAILED, status=status)
    sign = SIGNS[status].sign if status in SIGNS else "?"
    assert f"{sign} {status}" in checked_card(run_card(run))
    assert f"{sign} {status}" in run_text(run)


@pytest.mark.parametrize(
    ("changes", "call"),
    [
        ({}, "cp.resume('order-42')"),
        ({"run_id": None}, "cp.run()"),
        ({"status": "stopped"}, "cp.resume('order-42')"),
        ({"status": "cancelled", "run_id": None}, "cp.run()"),
        ({"status": "paused"}, "cp.resume('order-42', update={...})"),
        ({"status": "paused", "run_id": None}, "cp.run(update={...})"),
        ({"status": "terminated"}, "cp.run(checkpoint='charge', run_id='order-42')"),
        ({"status": "running", "stale": True}, "cp.resume('order-42')"),
        ({"status": "running"}, None),
        ({"status": "finished", "step": None}, None),
        ({"status": "queued"}, None),
        ({"damage": "its digest is wrong", "status": "damaged"}, None),
    ],
)
def test_remedy(changes: dict[str, object], call: str | None) -> None:
    """A run that needs somebody ends with the call that goes on with it."""
    run = replace(FAILED, **changes)  # type: ignore[arg-type]
    for shown in (checked_card(run_card(run)), run_text(run)):
        assert shown.endswith(call) if call else "cp." not in shown


def test_values_are_shown_on_demand_alone() -> None:
    """A run that was looked at without values shows sizes, one with values shows them."""
    keys = (KeyView(key="card", type="str", size=9, digest="0", value="4242", shown=True),)
    progress = ProgressView(step="charge", done=3.0, cursor={"page": 7}, cursor_size=10, shown=True)
    run = replace(FAILED, sizes=None, keys=keys, progress=progress)
    for shown in (checked_card(run_card(run)), run_text(run)):
        assert "'4242'" in shown
        assert '{"page": 7}' in shown
    hidden = replace(progress, cursor=None, shown=False)
    for shown in (checked_card(run_card(replace(FAILED, progress=hidden))), run_text(FAILED)):
        assert "4242" not in shown
        assert "page" not in shown


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_breaks_out(hostile: str) -> None:
    """Names, reasons, errors and values of strangers are escaped, and cut, wherever they stand."""
    steps = tuple(replace(one, name=f"{one.name}{hostile}") for one in STEPS)
    failure = replace(FAILURE, step=steps[1].name, type=hostile, message=hostile, traceback=hostile)
    run = replace(
        FAILED,
        flow=hostile,
        run_id=hostile,
        location=hostile,
        steps=steps,
        step=steps[1].name,
        failure=failure,
        owner=hostile,
        pause=hostile,
        actor=hostile,
        termination=hostile,
        python=hostile,
        library=hostile,
        sizes={hostile: 7},
        progress=ProgressView(step=hostile, done=1.0, note=hostile, cursor=hostile, shown=True),
    )
    keys = (KeyView(key=hostile, type=hostile, size=1, digest="0", value=hostile, shown=True),)
    running = (replace(steps[0], status="running", done=1.0, total=3.0, note=hostile),)
    for one in (
        run,
        replace(run, keys=keys, status="paused"),
        replace(run, status="running", steps=running),
        replace(run, status="terminated"),
        replace(run, status=hostile, damage=hostile),
    ):
        checked_card(run_card(one, notes=[hostile]))
        for line in run_text(one).split("\n"):
            assert line.isprintable()
            assert len(line) < 3_000


@pytest.mark.parametrize("count", [0, 1, 2, 3, 24, 25, 100, 10_000])
def test_large_runs_fold(count: int) -> None:
    """A card has at most 20 KB whatever the flow, says what is left out, and shows where it is."""
    at = count // 2
    run = replace(
        FAILED,
        status="running",
        step_count=count,
        steps=steps_of(count, at),
        position=at,
        step=f"step number {at}",
        failure=replace(FAILURE, message="e" * 100_000, traceback="t" * 100_000),
        sizes={f"key {index}": index for index in range(count)},
    )
    text = checked_card(run_card(run, diagram="<svg></svg>", notes=["n" * 9_000] * 100))
    assert ("more steps" in text) or count <= 24
    assert count == 0 or f"▶ running step number {at}" in text
    assert len(run_text(run).splitlines()) < 40


def test_steps_before_the_recorded_ones_are_counted() -> None:
    """A run whose header has the newest steps alone says how many there are."""
    run = replace(FAILED, steps=steps_of(500, 460)[400:], position=460, step_count=600)
    text = checked_card(run_card(run))
    assert "400 earlier steps" in text
    assert "100 more steps" in text


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1.0, 1e300, -1e300])
def test_odd_numbers(odd: float) -> None:
    """A header may hold any number as a time or duration."""
    steps = tuple(
        replace(
            one,
            seconds=odd,
            done=odd,
            total=odd,
            began=odd,
            ends_at=odd,
            expected=odd,
            status="running",
        )
        for one in STEPS
    )
    run = replace(
        FAILED,
        steps=steps,
        started_at=odd,
        written_at=odd,
        due=odd,
        status="queued",
        failure=replace(FAILURE, seconds=odd, at=odd),
        progress=ProgressView(step="charge", done=odd, total=odd, at=odd),
    )
    for one in (run, replace(run, status="running")):
        checked_card(run_card(one))
        run_text(one)


def test_picture_goes_first_where_there_is_no_room() -> None:
    """A diagram is in a card that has room for it, and left out of one that is full without."""
    picture = f"<svg><title>{'x' * 9_000}</title></svg>"
    assert "<svg>" in run_card(FAILED, diagram=picture)
    assert "<svg>" not in run_card(FAILED, diagram=picture.replace("x", "xxx"))


def test_styles_are_not_needed_and_do_nothing() -> None:
    """Without styles and tags the text is the same, and no style positions or loads anything."""
    html = run_card(FAILED)
    stripped = re.sub(r' style="[^"]*"', "", html)
    assert checked_card(stripped) == checked_card(html)
    styles = set(re.findall(r' style="([^"]*)"', html))
    assert not any(re.search(r"position|url|expression|@|display:none", one) for one in styles)
    tables = re.findall(r"<table[^>]*>", html)
    assert tables
    assert all("color:inherit;font:inherit" in one for one in tables)
