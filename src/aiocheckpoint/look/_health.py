"""What is wrong with a store before it matters, found without a write and without unpickling.

Two things cannot be seen in a store: whether its flow has `fsync=False`, and whether its disk keeps
what it has acknowledged.
"""

from __future__ import annotations

import heapq
import os
import sys
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.errors import RunNotFoundError
from aiocheckpoint.look._findings import FindingView, megabytes, named
from aiocheckpoint.look._health_files import (
    check_database,
    check_leftovers,
    check_place,
    check_rights,
    check_wal,
)
from aiocheckpoint.look._places import place_of, server_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look._records import RunView
    from aiocheckpoint.look._store import Store

__all__ = ["check_store"]

LARGE_BYTES = 10_000_000
"""A snapshot is written at each step, so a large one costs that often."""
_MINOR = "{}.{}".format(*sys.version_info)


def check_store(store: Store) -> tuple[FindingView, ...]:
    """Look for what is wrong with a store.

    All headers are read, and the payloads of three large snapshots of a flow at most. SQLite reads
    a database once.

    Args:
        store: The store.

    Returns:
        The findings, those about the whole store first. Empty where nothing is wrong.

    Raises:
        StorageError: The store cannot be read.
    """
    place = place_of(store)
    about_runs, owned = _check_runs(store)
    if place.kind == "elsewhere":
        return (*_about_server(store), *about_runs)
    about_files = (
        check_place(place),
        check_rights(place),
        check_database(place),
        check_wal(place),
        check_leftovers(place, owned),
    )
    return tuple(chain(*about_files, about_runs))


def _about_server(store: Store) -> Iterator[FindingView]:
    """The findings about the server of a store, where it has one that is known."""
    facts = server_of(store)
    if facts is not None:
        from aiocheckpoint.look._health_server import findings_of_server  # noqa: PLC0415 - seldom

        yield from findings_of_server(facts)


def _check_runs(store: Store) -> tuple[list[FindingView], set[str]]:
    """The findings about runs, and the names of the files of runs that have an owner."""
    owned, damaged = set[str](), set[str]()
    findings: list[FindingView] = []
    for flow in store.flows():
        checks = _RunChecks(flow.flow)
        for run in store.runs(flow=flow.flow):
            if run.owner is not None:
                owned.add(os.path.basename(run.location))
            if run.status != "damaged" or run.location not in damaged:
                checks.look(run)
            if run.status == "damaged":  # One of an unknown flow is listed with each.
                damaged.add(run.location)
        findings += checks.findings(store)
    return findings, owned


class _Tally:
    """Counts runs, and keeps the first as examples."""

    def __init__(self) -> None:
        self.count = 0
        self.runs: list[str | None] = []

    def add(self, run: RunView) -> None:
        self.count += 1
        if len(self.runs) < MOST_EXAMPLES:
            self.runs.append(run.run_id)

    def finding(self, kind: str, flow: str, problem: str, remedy: str) -> Iterator[FindingView]:
        """The finding, if there is a run. The problem gets the examples at its end."""
        if self.count:
            yield FindingView(
                kind=kind,
                problem=f"{problem}: {named(self.runs, self.count)}.",
                remedy=remedy,
                flow=flow,
                count=self.count,
                runs=tuple(self.runs),
            )


class _Large(NamedTuple):
    size: int
    number: int
    """Keeps runs of one size apart, which cannot be compared."""
    run: RunView


class _RunChecks:
    """Looks at the runs of one flow, one by one."""

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._damaged, self._stale, self._code = _Tally(), _Tally(), _Tally()
        self._pythons: dict[str, _Tally] = {}
        self._large: list[_Large] = []
        self._large_count = 0

    def look(self, run: RunView) -> None:
        """Look at a run."""
        if run.status == "damaged":
            self._damaged.add(run)
            return
        if run.stale:
            self._stale.add(run)
        if run.code:
            self._code.add(run)
        minor = ".".join(run.python.split(".")[:2])
        if minor and minor != _MINOR and run.status not in ENDED:
            self._pythons.setdefault(minor, _Tally()).add(run)
        if run.size > LARGE_BYTES:
            self._note_large(run)

    def _note_large(self, run: RunView) -> None:
        self._large_count += 1
        push = heapq.heappush if len(self._large) < MOST_EXAMPLES else heapq.heappushpop
        push(self._large, _Large(run.size, self._large_count, run))

    def findings(self, store: Store) -> Iterator[FindingView]:
        """What is wrong with the runs that were looked at."""
        flow = self._flow
        for kind, tally in (
            ("damaged", self._damaged),
            ("stale", self._stale),
            ("code", self._code),
        ):
            noun, verbs, harm, remedy = _HARM[kind]
            problem = f"{counted(tally.count, noun, verbs, of=flow)} {harm}"
            yield from tally.finding(kind, flow, problem, remedy)
        for minor, tally in sorted(self._pythons.items()):
            written = counted(tally.count, "unfinished run", ("was", "were"), of=flow)
            problem = (
                f"{written} written by Python {minor}, and this is {_MINOR}, which cannot tell "
                "whether steps were edited since"
            )
            remedy = f"Go on with them by Python {minor} where they hold code."
            yield from tally.finding("python", flow, problem, remedy)
        yield from self._large_ones(store)

    def _large_ones(self, store: Store) -> Iterator[FindingView]:
        if not self._large:
            return
        runs = [one.run for one in sorted(self._large, reverse=True)]
        largest = ", ".join(_with_largest_key(store, run) for run in runs)
        have = counted(self._large_count, "snapshot", ("has", "have"), of=self._flow)
        yield FindingView(
            kind="large",
            problem=f"{have} more than {LARGE_BYTES // 1_000_000} MB, and each step writes one "
            f"anew: {largest}.",
            remedy="Put what is large into `data`, with a loader and a saver.",
            flow=self._flow,
            count=self._large_count,
            runs=tuple(run.run_id for run in runs),
        )


_HARM = {
    "damaged": (
        "snapshot",
        ("cannot", "cannot"),
        "be read or trusted",
        "The command verify says why. With keep= an older snapshot is used.",
    ),
    "stale": (
        "run",
        ("has", "have"),
        "an owner that is gone",
        "A worker or resume_all() goes on with them.",
    ),
    "code": (
        "run",
        ("holds", "hold"),
        "functions or classes by value, which no other minor version of Python loads",
        "Define these in a module that can be imported.",
    ),
}
"""By kind: the noun, its verbs, what is wrong, and the remedy."""


def _with_largest_key(store: Store, run: RunView) -> str:
    """A run with its size, and the key of its state that is largest."""
    name = f"{named([run.run_id], 1)} {megabytes(run.size)}"
    sizes = None
    with suppress(RunNotFoundError):  # Deleted meanwhile.
        sizes = store.run(run.run_id, flow=run.flow, sizes=True).sizes
    if not sizes:
        return name
    key, size = max(sizes.items(), key=lambda item: item[1])
    return f"{name}, of which {named([key], 1)} {megabytes(size)}"
