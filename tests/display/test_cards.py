"""How flows, plans, headers, results, lists and views show themselves: cards and texts."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from card_checks import HOSTILE, checked_card

from aiocheckpoint import CheckpointFlow, Failure, Header, RunResult
from aiocheckpoint._display.cards.flow_card import flow_card, flow_text
from aiocheckpoint._display.cards.plan_card import plan_card
from aiocheckpoint._display.signs import SIGNS
from aiocheckpoint._model.shown_list import ShownList
from aiocheckpoint._runs.shown_flow import facts_of_flow
from aiocheckpoint.look import ChangeView, CountView, DiffView, FlowView, SnapshotView, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

by_hostile = pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))


@pytest.fixture
def cp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointFlow]:
    """Make a flow of three steps with five runs, one of which has failed."""
    monkeypatch.chdir(tmp_path)
    flow = CheckpointFlow("orders.db", "sqlite", keep="all", fsync=False)

    @flow.add_step(save=lambda state: None)
    def reserve(state: dict[str, Any]) -> None:
        state["order"] = 7

    @flow.add_step(retry=1, timeout=30)
    async def charge(state: dict[str, Any]) -> None:
        state["paid"] = 12
        if state["n"] == 3:
            raise ConnectionError("no <answer>")

    @flow.add_step(load=lambda state: {"rows": []}, needs=("rows",))
    def invoice(state: dict[str, Any]) -> None:
        state["order"] = 8

    for number in range(3):
        flow.run({"n": number}, run_id=f"order-{number}")
    with pytest.raises(ConnectionError):
        flow.run({"n": 3}, run_id="order-3")
    yield flow
    flow.handler.close()


def shown(thing: Any) -> tuple[str, str]:  # noqa: ANN401
    """Give the text of a card, and the text of the thing."""
    return checked_card(thing._repr_html_()), str(thing)


def test_flow(cp: CheckpointFlow) -> None:
    """Its place, its steps with what they have, the last times, and the stored runs."""
    for text in shown(cp):
        for words in ("orders.db", "3 steps", "sqlite, no fsync, keep='all'", "reserve"):
            assert words in text
        assert "sync, thread" in text
        assert "saver" in text
        assert "one try, at most 30 s" in text
        assert "loader of 'rows'" in text
        assert "3 ✓ finished · 1 ✗ failed" in text
        assert "last time" in text
        assert "✗ failed at 2 of 3, charge" in text
    assert "\n" not in repr(cp)
    assert repr(cp) == (
        "CheckpointFlow('orders', 'orders.db', SqliteStateHandler, "
        "steps=['reserve', 'charge', 'invoice'])"
    )


def test_plan(cp: CheckpointFlow) -> None:
    """Where it starts and why, what is done, what runs with which loader, and its warnings."""
    card, text = shown(cp.plan({"n": 9}, run_id="order-3"))
    assert card.startswith("Plan starts at 2 of 3, charge, with the stored state · the last run")
    for words in ("✓ done reserve", "▶ runs charge", "▶ runs invoice", "⚠ Ignores the given state"):
        assert words in card
    assert "its loader runs if 'rows' is missing" in card
    assert text in card.replace("Calls no", "Calls no") or text.split("\n")[0] in card
    later = checked_card(cp.plan({}, until="reserve")._repr_html_())
    assert "· later charge" in later
    refused = checked_card(CheckpointFlow("empty.pkl").plan()._repr_html_())
    assert "refused with FlowDefinitionError" in refused


def test_header_and_show(cp: CheckpointFlow) -> None:
    """A header and a stored run show the run. Values are shown on demand alone."""
    for thing in (cp.header("order-3"), cp.show("order-3"), cp.history("order-3")[0]):
        for text in shown(thing):
            assert "order-3" in text
            assert "✗ failed at 2 of 3, charge" in text
            assert "ConnectionError: no <answer>" in text
            assert text.endswith("cp.resume('order-3')")
            assert "'order': 7" not in text
    card, text = shown(cp.show("order-3", values=True))
    assert "order int" in card
    assert "order  int  7" in text


def test_lists(cp: CheckpointFlow) -> None:
    """Lists count what they have, and show a line for each item."""
    card, text = shown(cp.runs())
    assert card.startswith("List 4 runs · 1 failed · 3 finished")
    assert text.startswith("4 runs · 1 failed · 3 finished\nSTATUS")
    assert "✗ failed order-3 2/3 charge ConnectionError" in card
    card, text = shown(cp.history("order-1"))
    assert "4 snapshots" in card
    assert "✓ finished 1.4 the end" in card
    assert "· kept      1.2     charge" in text
    assert "running" not in card
    for empty in (cp.runs("queued"), cp.history("nobody")):
        assert str(empty).startswith("0 ")
        checked_card(empty._repr_html_())  # type: ignore[attr-defined]


async def test_results(cp: CheckpointFlow) -> None:
    """Results show their error and its notes, and no value."""
    results = await cp.amap({"a": {"n": 1}, "b": {"n": 3, "secret": 4242}})
    card, text = shown(results)
    assert "2 results · 1 failed · 1 finished" in card
    assert "ConnectionError: no <answer>" in text
    failed = next(result for result in results if result.error is not None)
    for text in shown(failed):
        assert "b" in text
        assert "✗ failed" in text
        assert "Mend it and run again" in text
    for text in shown(next(result for result in results if result.error is None)):
        assert "✓ finished" in text
        assert "state: 4 keys" not in text or "4242" not in text


def test_views(cp: CheckpointFlow) -> None:
    """Differences, snapshots, counts and flows of a store show themselves."""
    store = store_of(cp.handler)
    for text in shown(store.diff("order-1", values=True)):
        assert "order-1" in text
        assert "on entry to 'invoice' (snapshot 3)" in text
        assert "7 -> 8" in text
        assert "the same: n, paid" in text
    for text in shown(store.diff("order-1")):
        assert "7 -> 8" not in text
    for text in shown(store.history("order-1", keys=True)[0]):
        assert "4 of run 1: ✓ finished" in text.replace(" ·", ":")
        assert "keys: n, order, paid" in text
    for text in shown(store.count(("status", "step"))):
        assert "orders" in text
        assert "charge" in text
    for text in shown(store.flows()[0]):
        assert "4 runs" in text
        assert "reserve, charge, invoice" in text


def test_lists_are_lists(cp: CheckpointFlow) -> None:
    """A list that shows itself is a list in every other way."""
    runs = cp.runs()
    plain = list(runs)
    assert isinstance(runs, list)
    assert runs == plain
    assert repr(runs) == repr(plain)
    for copied in (copy.copy(runs), copy.deepcopy(runs), pickle.loads(pickle.dumps(runs)), runs[:]):
        assert type(copied) is list
        assert copied == plain
    runs.append(3)  # type: ignore[arg-type]
    assert isinstance(runs, ShownList)
    assert runs._repr_html_() is None  # No card of other things.
    assert str(runs) == repr(runs)
    assert json.dumps(ShownList([1], "runs")) == "[1]"


def test_ipython_stores_the_text(cp: CheckpointFlow) -> None:
    """IPython formats each as its text, and stores it beside the card."""
    formatters = pytest.importorskip("IPython.core.formatters")
    plain, html = formatters.PlainTextFormatter(), formatters.HTMLFormatter()
    for thing in (cp, cp.plan(), cp.header("order-3"), cp.runs(), cp.show("order-1")):
        text = plain(thing)
        assert text.split("\n")[0] == str(thing).split("\n")[0]
        checked_card(html(thing))


class Named(CheckpointFlow):
    """A flow with a `repr` of its own."""

    def __repr__(self) -> str:
        """Give a name."""
        return "my flow"


class Pretty(CheckpointFlow):
    """A flow with a text of its own for IPython."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401, FBT001
        printer.text("my text")


def test_users_subclasses_keep_their_texts(tmp_path: Path) -> None:
    """IPython shows what a user's subclass says of itself."""
    formatters = pytest.importorskip("IPython.core.formatters")
    plain = formatters.PlainTextFormatter()
    assert plain(Named(tmp_path / "a.pkl")) == "my flow"
    assert plain(Pretty(tmp_path / "a.pkl")) == "my text"


@by_hostile
def test_nothing_breaks_out(hostile: str, tmp_path: Path) -> None:
    """Names and texts of strangers are escaped and cut in every card and text."""
    failure = Failure(
        step=hostile, part="step", type=hostile, message=hostile, traceback=hostile, at=1, seconds=1
    )
    header = Header(
        flow=hostile,
        position=1,
        run_id=hostile,
        steps=("a", hostile, f"{hostile}c"),
        status="failed",
        failure=failure,
        pause=hostile,
        written_at=1.0,
        actor=hostile,
    )
    old = SnapshotView(
        number=1, sequence=1, position=1, step=hostile, status="failed", written_at=1.0, size=1,
        newest=False, damage=hostile,
    )  # fmt: skip
    change = ChangeView(path=hostile, kind="changed", old=hostile, new=hostile, old_type=hostile,
                        new_type=hostile)  # fmt: skip
    error = ValueError(hostile)
    error.add_note(hostile)
    result = RunResult(run_id=hostile, state={hostile: 1}, error=error)
    things: list[Any] = [
        header,
        ShownList([header] * 50, "runs"),
        ShownList([header] * 50, "snapshots"),
        ShownList([result] * 50, "results"),
        result,
        old,
        replace(old, damage=None),
        DiffView(
            flow=hostile,
            run_id=hostile,
            old=old,
            new=replace(old, number=2),
            shown=True,
            changes=(change,) * 50,
            same=(hostile,) * 50,
        ),
        FlowView(flow=hostile, place=hostile, counts={hostile: 1}, steps=(hostile,) * 50, newest=1),
        CountView(flow=hostile, by=("step",), rows=(((hostile,), 1),) * 50, total=50),
    ]
    for thing in things:
        checked_card(thing._repr_html_())
        for line in str(thing).split("\n"):
            assert line.isprintable()
            assert len(line) < 10_000


@by_hostile
def test_flows_and_plans_of_strangers(hostile: str, tmp_path: Path) -> None:
    """A flow whose steps have odd names shows them, and so does its plan."""
    flow = CheckpointFlow(tmp_path / "a.pkl", name="odd", version=1)
    for number in range(3):
        # A step may have any name that can be encoded.
        name = f"{number}{hostile}"[:200].replace("\0", "").encode(errors="replace").decode()
        flow.add_step(name=name)(lambda state: None)
    checked_card(flow._repr_html_())
    checked_card(flow.plan({})._repr_html_())
    assert all(line.isprintable() for line in str(flow).split("\n"))


@pytest.mark.parametrize("count", [1, 24, 100, 1_000, 10_000])
def test_large_flows_fold(count: int, tmp_path: Path) -> None:
    """Cards of flows and plans have at most 20 KB, and say how many steps are left out."""
    flow = CheckpointFlow(tmp_path / "a.pkl")
    flow.add_step(name="a step with a name of some length")(lambda state: None)
    facts = facts_of_flow(flow._core)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    facts = facts._replace(steps=list(facts.steps) * count)
    plan = flow.plan({})
    plan = replace(plan, steps=plan.steps * count, loads=plan.loads * count, stop=count, needs=())
    for card in (flow_card(facts), plan_card(plan)):
        assert ("more steps" in checked_card(card)) == (count > 24)
    assert len(flow_text(facts).split("\n")) < 40


def test_long_lists_fold() -> None:
    """A list of many runs shows the first, and says how many it leaves out."""
    headers = [Header(flow="f", position=0, run_id=f"r{n}", steps=("a",)) for n in range(5_000)]
    for text in shown(ShownList(headers, "runs")):
        assert "5,000 runs" in text
        assert "more" in text


def test_palette_is_read_on_light_and_dark() -> None:
    """Signs have a contrast of 3 to 1 on white and on dark pages, and quiet text one of 4.5."""
    for ground, ink in (("#ffffff", "#000000"), ("#1e1e1e", "#cccccc"), ("#111111", "#d4d4d4")):
        for sign in SIGNS.values():
            assert _contrast(_rgb(sign.colour), _rgb(ground)) >= 3, (sign, ground)
        quiet = [
            0.75 * of + 0.25 * under for of, under in zip(_rgb(ink), _rgb(ground), strict=True)
        ]
        assert _contrast(quiet, _rgb(ground)) >= 4.5


def _rgb(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def _contrast(one: list[float], other: list[float]) -> float:
    """The contrast of two colours (WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(rgb: list[float]) -> float:
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
