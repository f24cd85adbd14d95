"""How many requests each operation costs: as many as the page about object stores says."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT

from aiocheckpoint import CheckpointFlow, RunInProgressError
from aiocheckpoint.handlers.objects._claiming import Claiming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_proxy import ObjectProxy, Seen

STEPS = ("a", "b", "c", "d", "e")
OF_PROCESSES = ("owners", "format", "probe")
LOOKS = "LIST endings"
PAGE = (ROOT / "docs" / "objects.md").read_text("utf-8")
COSTS = PAGE.partition("## What it costs")[2].partition("\n\n| operation")[2].partition("\n\n")[0]
ROWS = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", COSTS, re.MULTILINE))
"""The cells of the page's table, by the operation."""


class Costs:
    """A flow behind a proxy, and the requests that it makes for its runs.

    Attributes:
        cp: The flow.
        begun: How many requests there were when each step began, since `begin`.
        fails: Whether the third step fails.
    """

    def __init__(self, url: str, proxy: ObjectProxy, **options: Any) -> None:  # noqa: ANN401
        self.cp = CheckpointFlow(url, name="f", **options)
        self._proxy, self._since = proxy, 0
        self.begun = list[int]()
        self.fails = False
        for name in STEPS:
            self.cp.add_step(name=name)(self._step)

    async def _step(self, state: dict[str, Any]) -> None:
        self.begun.append(len(self._proxy.seen))
        state["n"] = state.get("n", 0) + 1
        if self.fails and state["n"] == 3:
            raise ConnectionError

    def begin(self) -> None:
        """Count from here."""
        self._settle()
        self._since = len(self._proxy.seen)
        self.begun.clear()

    def spent(self) -> Counter[str]:
        """Count the requests since then by their kinds."""
        return Counter(seen.kind for seen in self._of_runs(self._since, len(self._proxy.seen)))

    def methods(self, since: int | None = None, until: int | None = None) -> dict[str, int]:
        """Count requests by their methods: those since `begin`, or a part of them.

        Those of the process, such as heartbeats, are left out. Deletes come half a second later,
        many by one request.
        """
        if until is None:
            self._settle()
        found = self._of_runs(self._since if since is None else since, until)
        return dict(Counter(seen.method.replace("DELETES", "DELETE") for seen in found))

    def first_step(self) -> int:
        """The requests that there were when the first step began."""
        return self.begun[0]

    def _of_runs(self, since: int, until: int | None) -> list[Seen]:
        found = self._proxy.seen[since:until]
        by_runs = [seen for seen in found if seen.kind.split(" ")[1] not in OF_PROCESSES]
        return [seen for seen in by_runs if seen.kind != LOOKS]

    def _settle(self) -> None:
        """Wait until nothing more is asked for."""
        known = -1
        while known != (now := len(self._of_runs(0, None))):
            known = now
            time.sleep(1.0)


@pytest.fixture
def costs(proxy_url: str, proxy: ObjectProxy) -> Iterator[Costs]:
    """Give a flow that has run once."""
    made = Costs(proxy_url, proxy)
    made.cp.run({}, run_id="first")
    made.begin()
    yield made
    made.cp.handler.close()


def new_run(costs: Costs) -> dict[str, int]:
    """Measure what comes before the first step of a new run."""
    costs.cp.run({}, run_id="x")
    return costs.methods(until=costs.first_step())


def step(costs: Costs) -> dict[str, int]:
    """Measure what comes between two steps."""
    costs.cp.run({}, run_id="x")
    found = [costs.methods(one, two) for one, two in pairwise(costs.begun)]
    assert found == found[:1] * (len(STEPS) - 1)
    return found[0]


def end(costs: Costs) -> dict[str, int]:
    """Measure what comes after the last step."""
    costs.cp.run({}, run_id="x")
    return costs.methods(costs.begun[-1])


def failed(costs: Costs) -> None:
    """Let a run fail in its third step."""
    costs.fails = True
    with pytest.raises(ConnectionError):
        costs.cp.run({}, run_id="x")
    costs.fails = False
    costs.begin()


def goes_on(costs: Costs) -> dict[str, int]:
    """Measure what comes before the first step of a run that is resumed."""
    failed(costs)
    costs.cp.resume("x")
    return costs.methods(until=costs.first_step())


def asked_again(costs: Costs) -> dict[str, int]:
    """Measure the same where the run may be a new one."""
    failed(costs)
    costs.cp.run(run_id="x")
    return costs.methods(until=costs.first_step())


def given_again(costs: Costs) -> dict[str, int]:
    """Measure the same where a state is given, as for a new one."""
    failed(costs)
    costs.cp.run({}, run_id="x")
    return costs.methods(until=costs.first_step())


def found_once(costs: Costs) -> dict[str, int]:
    """Measure the same where the run is looked for before."""
    failed(costs)
    costs.cp.run({}, run_id="x", once=True)
    return costs.methods(until=costs.first_step())


def refused(costs: Costs) -> dict[str, int]:
    """Measure what another owner needs to find out that a run is in progress."""
    first, _ = asked_from_elsewhere(costs)
    return first


def refused_again(costs: Costs) -> dict[str, int]:
    """Measure what a call that waits needs to ask once more."""
    real, asks = Claiming.attempt, list[Claiming]()

    def attempt(self: Claiming) -> Any:  # noqa: ANN401
        asks.append(self)
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claiming, "attempt", attempt)
        first, waited = asked_from_elsewhere(costs)
    more = len(asks) - 3  # One is that of the owner, and two are the first ones of both calls.
    assert more > 0
    assert {**waited, "GET": 0} == {**first, "GET": 0}
    each, rest = divmod(waited["GET"] - first["GET"], more)
    assert not rest
    return {"GET": each}


def asked_from_elsewhere(costs: Costs) -> tuple[dict[str, int], dict[str, int]]:
    """Ask from another process for a run in progress: once, and waiting for some time."""
    found = list[dict[str, int]]()

    def ask(state: dict[str, Any]) -> None:
        for wait in (0, 0.2):
            costs.begin()
            with pytest.raises(RunInProgressError):
                other.run({}, run_id="x", wait=wait)
            found.append(costs.methods())
        state["n"] = 0

    # With another lease it has a client of its own, as another process has.
    other = CheckpointFlow(str(costs.cp.handler.path), name="f", lease=20)
    other.add_step(name="a")(ask)
    costs.cp.add_step(name="ask", before="a")(ask)
    costs.cp.run({}, run_id="x")
    other.handler.close()
    once, waiting = found
    return once, waiting


def submitted(costs: Costs) -> dict[str, int]:
    """Measure what it takes to queue a run."""
    costs.cp.submit({}, run_id="x")
    return costs.methods()


def asked_once(costs: Costs) -> dict[str, int]:
    """Measure what it takes to ask for a finished run."""
    costs.cp.run({}, run_id="first", once=True)
    return costs.methods()


def read(costs: Costs) -> dict[str, int]:
    """Measure what it takes to read a state."""
    costs.cp.read("first")
    return costs.methods()


def counted(costs: Costs) -> dict[str, int]:
    """Measure a count."""
    assert costs.cp.count() == 1
    return costs.methods()


def listed(costs: Costs) -> dict[str, int]:
    """Measure a list of one run."""
    assert [header.run_id for header in costs.cp.runs()] == ["first"]
    return costs.methods()


def deleted(costs: Costs) -> dict[str, int]:
    """Measure what it takes to delete a run."""
    costs.cp.delete("first")
    return costs.methods()


def pruned(costs: Costs) -> dict[str, int]:
    """Measure what it takes to delete each of many runs, apart from what is for all of them."""
    count = 20
    list(costs.cp.map([(f"run-{number}", {}) for number in range(count - 1)]))
    costs.begin()
    assert costs.cp.prune(older_than=timedelta()) == count
    return {method: found // count for method, found in costs.methods().items() if found >= count}


def kept(costs: Costs) -> dict[str, int]:
    """Measure what comes between two steps where a snapshot is kept, and one is too many."""
    costs.cp.run({}, run_id="x")
    return costs.methods(costs.begun[-2], costs.begun[-1])


MEASURED = {
    "a new run: its claim with the first snapshot": new_run,
    "a step": step,
    "the end of a run, in place of its last step's PUT": end,
    "a new run by `asubmit`": submitted,
    "a claim of a run that goes on, by `aresume` or `awork`": goes_on,
    "the same by `arun` without a state": asked_again,
    "the same by `arun` with a state, which is tried as a new run first": given_again,
    "the same with `once=True`": found_once,
    "a claim by `arun` that is refused": refused,
    "each further claim of a call that waits": refused_again,
    "`once=True` for a finished run": asked_once,
    "a state that is read": read,
    "a count by status": counted,
    "a list": listed,
    "a run deleted": deleted,
    "the same by `prune`, one of many": pruned,
}
"""How the operations of the page are measured."""
KEPT = "a step with `keep=` above 1"
IN_TIME = [
    "a process that holds runs: heartbeats",
    "the same: requests to terminate, for each flow",
]


@pytest.mark.parametrize("row", MEASURED)
def test_costs(row: str, costs: Costs) -> None:
    """An operation takes as many requests as the page says."""
    assert MEASURED[row](costs) == stated(row)


def test_costs_of_kept_snapshots(proxy_url: str, proxy: ObjectProxy) -> None:
    """A step with `keep=` takes as many requests as the page says."""
    costs = Costs(proxy_url, proxy, keep=3)
    assert kept(costs) == stated(KEPT)
    costs.cp.handler.close()


def test_all_rows_are_measured() -> None:
    """The page states nothing that is not measured."""
    assert list(ROWS) == [*MEASURED, KEPT, *IN_TIME]


def stated(row: str) -> dict[str, int]:
    """Read the numbers of the page."""
    return {method: int(number) for number, method in re.findall(r"(\d+) ([A-Z]+)", ROWS[row])}


def test_costs_in_time(proxy_url: str, proxy: ObjectProxy) -> None:
    """While runs are held, a process beats three times in a lease, and looks once a second."""
    lease = 1.5
    assert [stated(row) for row in IN_TIME] == [{"PUT": 3}, {"LIST": 1}]
    cp = CheckpointFlow(proxy_url, name="f", lease=lease)

    @cp.add_step()
    def hold(state: dict[str, Any]) -> None:
        begun, at = len(proxy.seen), time.monotonic()
        found = Counter[str]()
        while found["PUT owners change"] < 5 or not found["LIST endings"]:
            time.sleep(0.05)
            found = proxy.kinds(begun)
        seconds = time.monotonic() - at
        assert found["PUT owners change"] <= 3 * seconds / lease + 1
        assert found["LIST endings"] <= seconds + 1
        assert found.keys() - {"GET format"} == {"PUT owners change", "LIST endings"}

    cp.run({}, run_id="x")
    cp.handler.close()


async def test_steps_of_many_runs(costs: Costs) -> None:
    """A step that goes well is one request, whatever else goes on."""
    await asyncio.gather(*(costs.cp.arun({}, run_id=f"run-{n}") for n in range(50)))
    spent = costs.spent()
    assert spent["PUT runs change"] == 50 * len(STEPS)
    assert spent["PUT runs create"] == 50
    assert spent["GET runs"] <= 50
    assert spent["PUT open"] + spent["PUT done"] == 100


def test_run_that_goes_on(costs: Costs) -> None:
    """Its claim stores its object once, and its name in the index once. Steps store no name."""
    failed(costs)
    costs.cp.resume("x")
    spent = costs.spent()
    assert spent["PUT runs change"] == 1 + 3
    assert (spent["PUT open"], spent["PUT done"]) == (1, 1)
