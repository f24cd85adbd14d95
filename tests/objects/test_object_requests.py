"""How many requests each operation costs, as the page about object stores says."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_proxy import ObjectProxy

STEPS = ("a", "b", "c", "d", "e")
OF_RUNS = ("runs", "open", "done", "kept", "progress", "endings")


class Costs:
    """A flow behind a proxy, and the requests that it makes for its runs.

    Attributes:
        cp: The flow.
        inside: What its steps do, beside nothing.
    """

    def __init__(self, url: str, proxy: ObjectProxy, **options: Any) -> None:  # noqa: ANN401
        self.cp = CheckpointFlow(url, name="f", **options)
        self._proxy, self._since = proxy, 0
        self.fails = False
        for name in STEPS:
            self.cp.add_step(name=name)(self._step)

    async def _step(self, state: dict[str, Any]) -> None:
        state["n"] = state.get("n", 0) + 1
        if self.fails and state["n"] == 3:
            raise ConnectionError

    def begin(self) -> None:
        """Count from here."""
        self._since = len(self._proxy.seen)

    def spent(self) -> Counter[str]:
        """Count the requests since then, but for those of the process."""
        found = self._proxy.kinds(self._since)
        return Counter(
            {kind: count for kind, count in found.items() if kind.split(" ")[1] in OF_RUNS}
        )


@pytest.fixture
def costs(proxy_url: str, proxy: ObjectProxy) -> Iterator[Costs]:
    """Give a flow that has run once."""
    made = Costs(proxy_url, proxy)
    made.cp.run({}, run_id="first")
    made.begin()
    yield made
    made.cp.handler.close()


def test_fresh_run(costs: Costs) -> None:
    """A run of five steps is one create, one change for each step, and two index objects."""
    costs.cp.run({}, run_id="x")
    spent = costs.spent()
    assert spent["PUT runs create"] == 1
    assert spent["PUT runs change"] == len(STEPS)
    assert spent["PUT open"] + spent["PUT done"] == 2
    assert spent["GET runs"] <= 1
    assert sum(spent.values()) <= len(STEPS) + 5


async def test_step(costs: Costs, proxy: ObjectProxy) -> None:
    """A step that goes well is one request, whatever else goes on."""
    await asyncio.gather(*(costs.cp.arun({}, run_id=f"run-{n}") for n in range(50)))
    spent = costs.spent()
    assert spent["PUT runs change"] == 50 * len(STEPS)
    assert spent["PUT runs create"] == 50
    assert spent["GET runs"] <= 50
    assert spent["PUT open"] + spent["PUT done"] == 100


def test_run_that_goes_on(costs: Costs) -> None:
    """A claim of a broken run is one change behind a read of its facts, and one of its state."""
    costs.fails = True
    with pytest.raises(ConnectionError):
        costs.cp.run({}, run_id="x")
    costs.fails = False
    costs.begin()
    costs.cp.run(run_id="x")
    spent = costs.spent()
    assert spent["GET runs"] <= 2
    assert spent["PUT runs change"] == 1 + 3
