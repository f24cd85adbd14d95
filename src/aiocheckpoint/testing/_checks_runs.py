"""Checks with many runs, for every state handler: resuming, listing and pruning."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

from aiocheckpoint._model.header import Status
from aiocheckpoint._model.pause import Pause
from aiocheckpoint.errors import StateConflictError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._checking import (
    ODD_IDS,
    bytes_of,
    emptied,
    fresh,
    is_stored,
    must,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["RUN_CHECKS"]

_LONG_AGO = 1_000_000_000.0
_RUNS = 11
_PAGE = 3
_STARTS = 3


def check_flow(make: Callable[[], StateHandler]) -> None:
    """A broken flow resumes at the broken step, on another handler of the same store."""
    with fresh(make, "flow"):
        trail: list[str] = []
        broken = [True]
        try:
            _flow(make(), trail, broken).run({"n": 1}, run_id="flow")
        except ConnectionError:
            broken.clear()
        must(not broken, "the flow breaks in its second step")
        header = make().header("flow")
        must(header is not None and header.failure is not None, "the header names the failure")
        state = asyncio.run(_flow(make(), trail, broken).arun(run_id="flow"))
        must(state == {"n": 3}, "the state resumes as on entry to the broken step")
        must(trail == ["one", "two", "two"], "the step before the broken one is not repeated")


def check_replay(make: Callable[[], StateHandler]) -> None:
    """The result of a finished run is read while another owner has its lock."""
    with fresh(make, "replay") as handler:
        trail: list[str] = []
        _flow(handler, trail, []).run({"n": 1}, run_id="replay")
        with make().locked("replay"):
            state = _flow(make(), trail, []).run({"n": 1}, run_id="replay", once=True)
        must(state == {"n": 3}, "a finished run gives its state while its lock is held")
        must(trail == ["one", "two"], "and none of its steps is repeated")


def _flow(handler: StateHandler, trail: list[str], broken: list[bool]) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)

    @cp.add_step()
    def one(state: dict[str, Any]) -> None:
        trail.append("one")
        state["n"] += 1

    @cp.add_step()
    async def two(state: dict[str, Any]) -> None:
        trail.append("two")
        state["n"] += 1
        if broken:
            raise ConnectionError("broken on purpose")

    return cp


def check_list(make: Make) -> None:
    """The stored runs are listed with their headers, the latest begun first."""
    with emptied(make, None, "old", "new") as handler:
        must(handler.runs(Query()) == [], "runs() is empty where nothing is stored")
        first_write = {"old": 10.0, "new": 30.0, None: 20.0}
        for run_id, started_at in first_write.items():
            store(handler, run_id, started_at=_LONG_AGO + started_at)
        newest_first = ["new", None, "old"]
        must(_ids(make().runs(Query())) == newest_first, "runs() lists the latest begun first")
        store(handler, "old", started_at=_LONG_AGO + 10.0)
        must(_ids(make().runs(Query())) == newest_first, "a run keeps its place in the list")
        for header in make().runs(Query()):
            must(header == make().header(header.run_id), "runs() gives the headers as stored")
        must(_ids(make().runs(Query(limit=2))) == newest_first[:2], "limit= cuts the list")
        make().remove("new")
        must(_ids(handler.runs(Query())) == [None, "old"], "a deleted run is not listed")


def check_list_by_status(make: Make) -> None:
    """A list by statuses has the runs with these statuses, in the same order."""
    statuses: tuple[Status, ...] = get_args(Status)
    kinds = len(statuses)
    run_ids = [f"{number}" for number in range(2 * kinds)]
    with emptied(make, *run_ids) as handler:
        for number, run_id in enumerate(run_ids):
            store(handler, run_id, statuses[number % kinds], started_at=_LONG_AGO + number)
        several: tuple[set[Status], ...] = ({"running", "finished"}, {*statuses})
        single: list[set[Status]] = [{status} for status in statuses]
        for wanted in (*single, *several):
            expected = [one for one in run_ids[::-1] if statuses[int(one) % kinds] in wanted]
            query = Query(frozenset(wanted))
            must(_ids(make().runs(query)) == expected, "a list has the statuses asked for")
            first = _ids(make().runs(query._replace(limit=1)))
            must(first == expected[:1], "limit= counts the statuses asked for")


def check_list_of_due_runs(make: Make) -> None:
    """A list by time has the runs that recovery may take, the longest due first, in pages."""
    facts: dict[str, tuple[Status, dict[str, Any]]] = {
        "first": ("queued", {}),
        "second": ("failed", {"due": _LONG_AGO + 2.0}),
        "later": ("queued", {"due": _LONG_AGO + 9.0}),
        "third": ("paused", {"due": _LONG_AGO + 3.0}),
        "asks": ("paused", {}),
        "until": ("stopped", {"stopped_by": "until"}),
        "ended": ("terminated", {"terminated_by": "hand", "termination": "no use"}),
        "done": ("finished", {}),
    }
    with emptied(make, *facts) as handler:
        for number, (run_id, (status, more)) in enumerate(facts.items()):
            header = store(handler, run_id, status, started_at=_LONG_AGO + number, **more)
            must(is_stored(handler, header), "the header is stored with its status and time")
        query = Query(due_before=_LONG_AGO + 3.0, unowned=True)
        expected = ["first", "second", "third"]
        must(_ids(make().runs(query)) == expected, "runs() lists the due runs, longest due first")
        page = make().runs(query._replace(limit=2))
        must(_ids(page) == expected[:2], "limit= cuts the list")
        page = make().runs(query._replace(limit=2, after=page[-1]))
        must(_ids(page) == expected[2:], "after= gives the page behind a run")


def check_pause(make: Make) -> None:
    """A paused run is listed with its reason, resumes with an update, and can be pruned."""
    with emptied(make, "pause", "done") as handler:
        store(handler, "done", started_at=_LONG_AGO)
        cp = _pausing(make())
        must(cp.run({"n": 1}, run_id="pause") == {"n": 1}, "a run that pauses gives its state")
        query = Query(frozenset({"paused"}))
        paused = make().runs(query)
        must(_ids(paused) == ["pause"], "a paused run is listed by its status, and no other is")
        must(paused[0].pause == "to be told", "a paused run is listed with its reason")
        must(paused[0] == make().header("pause"), "it is listed as its header says")
        must(make().read("pause")["n"] == 1, "it is stored as on entry to its step")
        state = asyncio.run(_pausing(make()).arun(run_id="pause", update={"told": True}))
        must(state == {"n": 2, "told": True}, "a paused run resumes with an update")
        must(make().runs(query) == [], "a resumed run is not listed as paused")
        _pausing(make()).run({"n": 1}, run_id="pause")
        must(make().prune(query) == 1, "prune() deletes runs that are paused, where asked for")
        must(_ids(handler.runs(Query())) == ["done"], "and none that is not")


def _pausing(handler: StateHandler) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)

    @cp.add_step()
    def wait(state: dict[str, Any]) -> None:
        state["n"] += 1
        if "told" not in state:
            raise Pause("to be told")

    return cp


def check_starts(make: Make) -> None:
    """A claimed run is running at once, and its starts at one step are counted."""
    with emptied(make, "starts"):
        seen: list[Header] = []
        cp = CheckpointFlow("conformance", handler=make(), name=make().flow or None)

        @cp.add_step()
        def breaks(_state: dict[str, Any]) -> None:
            seen.extend(make().runs(Query(frozenset({"running"}))))
            if len(seen) < _STARTS:
                raise ConnectionError("broken on purpose")

        for _ in range(_STARTS - 1):
            with suppress(ConnectionError):
                cp.run({"n": 1}, run_id="starts")
        header = make().header("starts")
        must(header is not None and header.status == "failed", "a run that breaks is failed")
        must(header is not None and header.starts == _STARTS - 1, "its starts are counted")
        must(_refused(make()), "a run that began with another state is refused")
        must(make().header("starts") == header, "a refused run is as it was")
        again = make().header("starts")
        must(again is not None and again.starts == _STARTS - 1, "a refusal is no start")
        cp.run(run_id="starts")
        must(len(seen) == _STARTS, "a resumed run is listed as running from its claim on")
        counts = [one.starts for one in seen]
        must(counts == [*range(1, _STARTS + 1)], "the present start counts")
        must(all(one.killed == 0 for one in seen), "a failed start is not a killed one")
        make().remove("starts")
        must(make().read_start("starts") is None, "a run that is deleted leaves no record")


def _refused(handler: StateHandler) -> bool:
    """Whether the run is refused because it began with another state."""
    other = CheckpointFlow(
        "conformance", handler=handler, name=handler.flow or None, conflict="raise"
    )
    other.add_step(name="breaks")(lambda _state: None)
    try:
        other.run({"n": "another"}, run_id="starts")
    except StateConflictError:
        return True
    return False


def check_list_of_odd_ids(make: Make) -> None:
    """Run ids come back unchanged, and each run is found by the id in its header."""
    with emptied(make, *ODD_IDS) as handler:
        for number, run_id in enumerate(ODD_IDS):
            store(handler, run_id, started_at=_LONG_AGO + number)
        must(_ids(make().runs(Query())) == [*ODD_IDS[::-1]], "ids come back as they are")
        must(_ids(_paged(make, lambda _: None)) == [*ODD_IDS[::-1]], "pages continue behind any id")
        for header in make().runs(Query()):
            make().remove(header.run_id)
        must(handler.runs(Query()) == [], "each run is found by the id in its header")


def check_pages(make: Make) -> None:
    """Pages list each run once, even where runs are deleted or begin meanwhile."""
    run_ids = [str(number) for number in range(_RUNS)]
    with emptied(make, "later", *run_ids) as handler:
        for number, run_id in enumerate(run_ids):
            # Two at a time began in the same moment.
            store(handler, run_id, started_at=_LONG_AGO + number // 2)
        whole = _ids(handler.runs(Query()))
        must(sorted(map(str, whole)) == sorted(run_ids), "every run is listed once")
        must(_ids(_paged(make, lambda _: None)) == whole, "pages make up the list")

        def meddle(page: list[Header]) -> None:
            last = whole.index(page[-1].run_id)
            for run_id in {whole[last], *whole[last + 1 : last + 2]}:
                handler.remove(run_id)
            store(handler, "later", started_at=time.time())

        seen = _ids(_paged(make, meddle))
        # The run behind each page was deleted before the next page.
        expected = [one for index, one in enumerate(whole) if index % (_PAGE + 1) < _PAGE]
        must(seen == expected, "pages have no double and no gap where others are deleted")


def check_list_with_damage(make: Make) -> None:
    """A damaged snapshot, or one of another run, is left out of the list."""
    run_ids = ("whole", "damaged", "swapped", "sound")
    with emptied(make, *run_ids) as handler:
        for number, run_id in enumerate(run_ids):
            store(handler, run_id, started_at=_LONG_AGO + number)
        content = bytes_of(handler, "damaged") or b""
        at = content.rindex(b'"position"')
        header = handler.header("damaged")
        _put(handler, "damaged", header, content[:at] + b"?" + content[at + 1 :])
        header = handler.header("swapped")
        _put(handler, "swapped", header, bytes_of(handler, "whole") or b"")
        listed = _ids(make().runs(Query()))
        must(listed == ["sound", "whole"], "a damaged snapshot, or another run's, is not listed")
        page = _ids(make().runs(Query(limit=2)))
        must(page == ["sound", "whole"], "limit= counts the listed runs, not the ones left out")


def check_prune(make: Make) -> None:
    """Pruning deletes unlocked runs by age and status, and returns their number."""
    ends: dict[str, tuple[Status, float]] = {
        "old": ("finished", 1.0),
        "older": ("finished", 0.5),
        "young": ("finished", 9.0),
        "failed": ("failed", 1.0),
        "held": ("finished", 1.0),
    }
    with emptied(make, *ends) as handler:
        for run_id, (status, age) in ends.items():
            store(handler, run_id, status, written_at=_LONG_AGO + age)
        query = Query(frozenset({"finished"}), written_before=_LONG_AGO + 5.0)
        old = set(_ids(make().runs(query)))
        must(old == {"old", "older", "held"}, "written_before= asks for older snapshots")
        with make().locked("held"):
            must(make().prune(query) == 2, "prune() returns how many it deleted")  # noqa: PLR2004
            left = set(_ids(handler.runs(Query())))
            must("held" in left, "prune() deletes none that is locked")
            must(left == {"young", "failed", "held"}, "prune() deletes by age and status")
        must(make().prune(query) == 1, "prune() deletes a run that is no longer locked")
        must(make().prune(query) == 0, "prune() finds nothing where nothing is left")
        must(handler.read("old") == {}, "a pruned run is gone")


def _ids(headers: list[Header]) -> list[str | None]:
    return [header.run_id for header in headers]


def _paged(make: Make, meddle: Callable[[list[Header]], None]) -> list[Header]:
    """List all, page by page, and call `meddle` with each page before the next one."""
    query = Query(limit=_PAGE)
    found: list[Header] = []
    while page := make().runs(query):
        found += page
        must(len(page) <= _PAGE, "no page is longer than limit= says")
        must(len(found) <= 2 * len(ODD_IDS), "pages come to an end")
        meddle(page)
        query = query._replace(after=page[-1])
    return found


def _put(handler: StateHandler, run_id: str, header: Header | None, content: bytes) -> None:
    """Store bytes that are no sound snapshot of a run."""

    def write_to(target: SnapshotTarget) -> Header:
        must(header is not None, "a stored snapshot has a header")
        target.write(content)
        return header  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    with handler.locked(run_id) as lock:
        handler.replace(run_id, write_to, lock=lock)


RUN_CHECKS: tuple[Check, ...] = (
    check_flow,
    check_replay,
    check_list,
    check_list_by_status,
    check_list_of_due_runs,
    check_pause,
    check_starts,
    check_list_of_odd_ids,
    check_pages,
    check_list_with_damage,
    check_prune,
)
"""Each check is called with `make`, see `check_handler`."""
