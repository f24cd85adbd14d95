"""`repr()` of a flow and of a stream: name, place and progress, and no secret or state value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import State

KEY = "hunter2-hunter2-hunter2-hunter2-"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class DictHandler:
    """A user's own handler, which keeps one dict."""

    def __init__(self, place: str) -> None:
        """Begin empty."""
        self.place = place
        self.kept: State = {}

    def read(self) -> State:
        """Give the dict."""
        return self.kept

    def write(self, state: State) -> None:
        """Keep the dict."""
        self.kept = state


def flow_of(*names: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow in "orders.pkl" with empty steps of these names."""
    cp = CheckpointFlow("orders.pkl", **options)
    for name in names:
        cp.add_step(name=name)(lambda state: None)
    return cp


def test_name_location_handler_and_steps() -> None:
    """A flow shows its name, its path as given, its handler, and its steps in order."""
    shown = repr(flow_of("fetch", "charge"))
    assert shown == (
        "CheckpointFlow('orders', 'orders.pkl', LocalStateHandler, steps=['fetch', 'charge'])"
    )
    assert repr(flow_of()).endswith("LocalStateHandler, steps=[])")
    assert repr(flow_of(name="other")).startswith("CheckpointFlow('other', 'orders.pkl', ")


def test_subclass_and_path_object(tmp_path: Path) -> None:
    """A subclass shows its own name, and a `Path` is shown as text."""

    class Orders(CheckpointFlow):
        pass

    shown = repr(Orders(tmp_path / "runs.db", "sqlite"))
    assert shown == f"Orders('runs', {str(tmp_path / 'runs.db')!r}, SqliteStateHandler, steps=[])"


def test_location_of_a_handler_object() -> None:
    """The path of a handler object is shown, not the path that the flow was given."""
    handler = LocalStateHandler("elsewhere/", flow="orders")
    assert "'elsewhere/', LocalStateHandler" in repr(CheckpointFlow("orders.pkl", handler))
    memory = CheckpointFlow("orders.pkl", MemoryStateHandler("in memory", flow="orders"))
    assert "'in memory', MemoryStateHandler" in repr(memory)


@pytest.mark.parametrize("count", [8, 9, 1000])
def test_many_steps_are_shortened(count: int) -> None:
    """At most eight entries are shown: the first six steps, the number left out, the last step."""
    names = [f"step {number}" for number in range(count)]
    shown = repr(flow_of(*names))
    steps = shown.partition("steps=[")[2].removesuffix("])").split(", ")
    assert len(steps) == 8
    assert (steps[:6], steps[-1]) == ([repr(name) for name in names[:6]], repr(names[-1]))
    assert steps[6] == (repr(names[6]) if count == 8 else f"... {count - 7} more ...")


def test_no_secret_and_no_state_value() -> None:
    """Neither the secret that signs snapshots nor a value of the state is shown."""
    cp = flow_of("a", secret=KEY)
    state = {"token": "value-of-the-state"}
    assert "value" not in repr(cp)
    cp.run(state)
    assert KEY not in repr(cp)
    assert "value" not in repr(cp)


@pytest.mark.parametrize(
    "place",
    [
        "db://user:hunter2@host/orders",
        "db://user:hun/ter2@host/orders",
        "db://user:hunter2@:x@host/orders",
        "db://hunter2@host/orders",
        "db://host/orders?password=hunter2&x=1",
        "db://host/orders#hunter2",
        "host=host dbname=orders password=hunter2",
        "host=host orders PASSWD=hunter2;",
    ],
)
def test_no_password_of_a_url(place: str) -> None:
    """A password or token in the path is masked, and the rest of the path is shown."""
    shown = repr(CheckpointFlow(place, DictHandler, name="orders"))
    assert "hun" not in shown
    assert "ter2" not in shown
    assert shown.startswith("CheckpointFlow('orders', ")
    assert "host" in shown.split(", ")[1]
    assert "***" in shown


@pytest.mark.parametrize(
    "place", ["me@home/orders.pkl", "c:/me@home/orders.pkl", "sqlite:///a@b.db"]
)
def test_paths_that_hold_no_password(place: str) -> None:
    """A path with an `@`, and a URL of a file with one, are shown whole."""
    assert f"{place!r}, DictHandler" in repr(CheckpointFlow(place, DictHandler, name="orders"))


async def test_stream(runs: Runs) -> None:
    """A stream shows its kind of items, and whether its loop has begun or ended."""
    events = runs.flow("a").astream({}, run_id="x")
    assert repr(events) == "<Stream of events, not begun>"
    async for _ in events:
        assert repr(events) == "<Stream of events, begun>"
    assert repr(events) == "<Stream of events, ended>"
    results = runs.flow("a").amap({"y": {"key": "value"}})
    assert repr(results) == "<Stream of results, not begun>"
    await results
    assert repr(results) == "<Stream of results, ended>"


async def test_closed_stream(runs: Runs) -> None:
    """A stream that was closed before its loop began has ended."""
    stream = runs.flow("a").aresume_all()
    await stream.aclose()
    assert repr(stream) == "<Stream of results, ended>"
