"""Each fault at each request of a run: it ends once, or breaks with an error and goes on."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from object_proxy import Fault

from aiocheckpoint import CheckpointError, CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from object_proxy import ObjectProxy, Seen

STEPS = ("a", "b", "c")
MOST = 26
"""More requests than any run here makes."""


class BrokenError(Exception):
    """Breaks a step on purpose."""


@dataclass
class Trails:
    """A flow of three steps, and the steps that its runs have executed.

    Attributes:
        cp: The flow.
        executed: By run.
        breaks: The runs whose second step breaks, once each.
    """

    cp: CheckpointFlow
    executed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    breaks: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        """Add the steps."""
        for name in STEPS:
            self.cp.add_step(name=name)(partial(self._step, name))

    async def _step(self, name: str, state: dict[str, Any]) -> None:
        run = state["id"]
        self.executed.setdefault(run, []).append(name)
        if name == "b" and run in self.breaks:
            self.breaks.discard(run)
            raise BrokenError
        state["trail"] = [*state["trail"], name]

    async def fresh(self, run: str) -> None:
        """Execute a new run."""
        await self.cp.arun({"id": run, "trail": []}, run_id=run)

    async def resumed(self, run: str) -> None:
        """Go on with a run that has broken in its second step."""
        await self.cp.arun(run_id=run)

    async def queued(self, run: str) -> None:
        """Queue a run, and take it from the queue."""
        await self.cp.asubmit({"id": run, "trail": []}, run_id=run)
        await self.cp.aresume(run)

    async def prepare(self, run: str) -> None:
        """Break a run in its second step."""
        self.breaks.add(run)
        with suppress(BrokenError):
            await self.fresh(run)

    async def go_on(self, run: str) -> None:
        """End a run that broke off, as the user does who was told so."""
        if await self.cp.aheader(run) is None:
            await self.fresh(run)
        else:
            await self.cp.arun(run_id=run, wait=20.0, once=True)

    def check(self, run: str, ended: object) -> None:
        """Check that a run has ended as an undisturbed one, once."""
        header = self.cp.header(run)
        assert header is not None
        assert (header.status, header.number) == ("finished", 1), run
        assert self.cp.read(run)["trail"] == [*STEPS], run
        steps = self.executed[run]
        assert steps == sorted(steps), (run, steps)
        repeated = len(steps) - len(set(steps))
        # A step whose snapshot was not stored is executed again behind an error alone.
        may = int(isinstance(ended, BaseException)) + int("resumed" in run)
        assert repeated <= may, (run, steps, ended)


SCENES: dict[str, Callable[[Trails, str], Awaitable[None]]] = {
    "fresh": Trails.fresh,
    "resumed": Trails.resumed,
    "queued": Trails.queued,
}


REFUSALS = (Fault.PRECONDITION, Fault.CONFLICT)
"""What a server answers to conditional requests alone."""


def of_run(run: str, fault: Fault) -> Callable[[Seen], bool]:
    """Give the condition that a fault may happen to a request: it is for an object of the run."""

    def is_of_run(seen: Seen) -> bool:
        of_it = seen.key.endswith((f"/{run}", f"_{run}")) or f"/kept/{run}/" in seen.key
        return of_it and (fault not in REFUSALS or bool(seen.condition))

    return is_of_run


def cases() -> Iterator[object]:
    """Give the numbers of kept snapshots, scenes and faults. Those that take long are torture."""
    for keep, scene, fault in itertools.product((1, 3), SCENES, Fault):
        quick = (keep, scene) == (1, "fresh") or fault is Fault.LOST
        marks = [] if quick else [pytest.mark.torture]
        yield pytest.param(keep, scene, fault, marks=marks, id=f"{keep}-{scene}-{fault.value}")


@pytest.fixture
def trails(keep: int, proxy_url: str) -> Iterator[Trails]:
    """Give a flow behind the proxy."""
    cp: CheckpointFlow = CheckpointFlow(proxy_url, name="f", lease=3.0, keep=keep)
    yield Trails(cp)
    cp.handler.close()


async def strike(trails: Trails, proxy: ObjectProxy, scene: str, fault: Fault) -> int:
    """Execute a run for each request that one makes, and let the fault happen to that request.

    Returns:
        To how many requests it has happened.
    """
    act = SCENES[scene]
    runs = [f"{scene}-{fault.name.lower()}-{number}" for number in range(1, MOST)]
    if scene == "resumed":
        await asyncio.gather(*map(trails.prepare, runs))
    rules = [
        proxy.inject(fault, of_run(run, fault), number=number, seconds=1.0)
        for number, run in enumerate(runs, 1)
    ]
    ends = await asyncio.gather(*(act(trails, run) for run in runs), return_exceptions=True)
    happened = [rule.happened for rule in rules]
    # What follows has requests too.
    proxy.rules = []
    for run, end in zip(runs, ends, strict=True):
        if isinstance(end, BaseException):
            assert isinstance(end, CheckpointError), (run, end)
            await trails.go_on(run)
        trails.check(run, end)
    assert not happened[-1]
    return sum(happened)


@pytest.mark.parametrize(("keep", "scene", "fault"), list(cases()))
def test_each_request(
    keep: int, scene: str, fault: Fault, trails: Trails, proxy: ObjectProxy
) -> None:
    """Whatever happens to one request of a run, the run ends once, and nothing is lost."""
    assert asyncio.run(strike(trails, proxy, scene, fault)) >= 4
    headers = trails.cp.runs()
    assert len(headers) == MOST - 1
    assert {header.status for header in headers} == {"finished"}


FIRST_FAULTS = [
    pytest.param(fault, marks=[] if fault.value in {"412", "lost"} else pytest.mark.torture)
    for fault in Fault
    if "timeout" not in fault.value
]


def in_folder(folder: str) -> Callable[[Seen], bool]:
    """Give the condition that a fault may happen to a request: it is for an object of a folder."""
    return lambda seen: seen.key.startswith(folder)


async def strike_first(proxy: ObjectProxy, url: str, fault: Fault) -> int:
    """Use a new folder for each request of a first use, and let the fault happen to that request.

    The proof is a race, for which the server of the tests takes a second. So all go on at once.

    Returns:
        To how many requests it has happened.
    """
    trails = [
        Trails(CheckpointFlow(url.replace("/work?", f"/{number}?"), name="f", patience=5.0))
        for number in range(1, MOST)
    ]
    rules = [
        proxy.inject(fault, in_folder(f"{number}/"), number=number, seconds=0.3)
        for number in range(1, MOST)
    ]
    ends = await asyncio.gather(*(one.fresh("x") for one in trails), return_exceptions=True)
    happened = [rule.happened for rule in rules]
    proxy.rules = []
    for one, end in zip(trails, ends, strict=True):
        if isinstance(end, BaseException):
            assert isinstance(end, CheckpointError), end
            await one.go_on("x")
        one.check("x", end)
        one.cp.handler.close()
    assert not happened[-1]
    return sum(happened)


@pytest.mark.parametrize("fault", FIRST_FAULTS, ids=lambda fault: fault.value)
def test_first_use(fault: Fault, proxy: ObjectProxy, proxy_url: str) -> None:
    """Whatever happens to a request of the first use of a bucket, the run can end."""
    assert asyncio.run(strike_first(proxy, proxy_url, fault)) > 5
