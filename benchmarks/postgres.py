"""Rate and costs of durable steps on PostgreSQL, against the SQLite handler, a floor and DBOS.

    POSTGRES_URL=... python benchmarks/postgres.py [--runs N] [--rounds N] [--no-rivals]
                                                   [--directory DIR] [--json FILE]

POSTGRES_URL is a database of a server that does nothing else, such as
postgresql://postgres@127.0.0.1/bench. Schemas are made in it, and dropped at the end. POOLER_URL is
the same database behind a pooler, and may be missing. Both come from the environment, because the
figures are stored with their command. The runs are those of `many_runs.py`: five coroutine steps
each, all at once, each step durable before the next one of its run. The two sides of a pair are
measured in turns.

The floor updates a row of each run under its token, all in one durable commit. The snapshots travel
as one bytea. DBOS does as many workflows of as many steps on the same server, at the settings of
its documentation. A proxy makes each way to the server 5 ms longer, and another one none, so that
the price of the proxy is on both sides. The step of one run is timed from step to step. Its floor
is one durable statement for one row, in a thread that the loop waits for.

The bytes of a list are those that the server has sent through a proxy, against those of the
footers. The succession is the time from the SIGKILL of a run's owner to the end of the run's only
step in this process, which waits for the run.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from peers.concurrent_runs import DBOS_ON_POSTGRES, RivalWorker
from workloads.crowd import Crowd
from workloads.delay_proxy import DelayProxy
from workloads.flows import counting_run, database, snapshot_size, workplace
from workloads.row_commits import RowCommits, StatementHop
from workloads.shapes import small_state
from workloads.succession import seconds_to_succession
from workloads.timed_runs import AsyncRuns, Timer

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Sequence

STEPS = 5
ONE_RUN_STEPS = 50
OURS = "aiocheckpoint on PostgreSQL"
ONE_WAY_SECONDS = 0.005
LISTED, LARGE_BYTES = 100, 1_000_000
BYTES = f"bytes of a list of {LISTED} runs of 1 MB, against their footers"
SUCCESSION = "SIGKILL to succession, direct"
GOALS = {BYTES: Goal(1.5), SUCCESSION: Goal(1.0)}
ABOUT_OURS = (
    f"{OURS}: a step's snapshot is committed, with synchronous_commit as the server has it, "
    "before the next step of its run begins. The newest snapshot of each run stays stored."
)
ABOUT_FLOOR = (
    "floor: one durable statement for a step of all runs, in a thread of its own connection. It "
    "serialises nothing and runs no loop."
)


@dataclass(frozen=True, slots=True)
class Place:
    """The databases that are measured.

    Attributes:
        url: The server's database.
        schema: The schema that is dropped at the end.
        directory: For the database of SQLite.
        runner: Has the loop.
        runs: How many runs there are at once.
    """

    url: str
    schema: str
    directory: Path
    runner: asyncio.Runner
    runs: int

    @property
    def options(self) -> dict[str, Any]:
        """The options of the handler."""
        return {"schema": self.schema}

    def crowd(self, name: str, url: str) -> Contender:
        """The runs on PostgreSQL by a URL."""
        run = counting_run(url, STEPS, **self.options)
        return Contender(f"{name}, {self.runs} runs", self._sampled(run))

    def on_sqlite(self) -> Contender:
        """The same runs on SQLite."""
        run = counting_run(database(self.directory, "counting"), STEPS)
        return Contender(f"aiocheckpoint on SQLite, {self.runs} runs", self._sampled(run))

    def _sampled(self, run: Any) -> Any:  # noqa: ANN401 - functions of runs and samples
        return Crowd(self.runner, self.runs, STEPS, run).sample

    def by(self, port: int) -> str:
        """The URL by a proxy that listens at a port."""
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        host = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
        return parts._replace(netloc=host).geturl()


def measure_crowds(place: Place, arguments: argparse.Namespace, stack: ExitStack) -> list[Pair]:
    """Measure the runs against SQLite, the floor, longer ways and a pooler."""
    host, port = _address(place.url)
    near = stack.enter_context(DelayProxy(host, port))
    far = stack.enter_context(DelayProxy(host, port, ONE_WAY_SECONDS))
    connection = stack.enter_context(psycopg.connect(place.url, autocommit=True))
    size = snapshot_size(place.directory)
    floor = RowCommits(connection, place.schema, place.runs, STEPS, size)
    ours = place.crowd(OURS, place.url)
    pairs = [
        Pair(ours, place.on_sqlite(), "1/s", Goal(0.5, at_least=True)),
        Pair(
            ours,
            Contender(f"floor, {place.runs} rows", floor.sample),
            "1/s",
            Goal(0.08, at_least=True),
        ),
        Pair(
            place.crowd("with a round trip of 10 ms", place.by(far.port)),
            place.crowd("by a proxy without delay", place.by(near.port)),
            "1/s",
            Goal(0.65, at_least=True),
        ),
    ]
    if arguments.pooler:
        behind = place.crowd("behind a pooler", arguments.pooler)
        pairs.append(Pair(behind, ours, "1/s", Goal(0.9, at_least=True)))
    measure(pairs, arguments.rounds, freeze=False)
    return pairs


def measure_one_run(place: Place, rounds: int, stack: ExitStack) -> Pair:
    """Measure the step of one run against one durable statement and a hop."""
    connection = stack.enter_context(psycopg.connect(place.url, autocommit=True))
    size = snapshot_size(place.directory / "one")
    schema = f"{place.schema}_one"
    connection.execute(f"CREATE SCHEMA {schema}".encode())
    hop = StatementHop(RowCommits(connection, schema, 1, 1, size), ONE_RUN_STEPS)
    timer = Timer(place.url, ONE_RUN_STEPS, AsyncRuns(place.runner), **place.options)
    subject = Contender("one run, step", timer.sample)
    base = Contender(
        "one durable statement and a hop", lambda: place.runner.run(hop.microseconds())
    )
    pair = Pair(subject, base, "µs", Goal(1.4))
    measure([pair], rounds, warm_ups=2)
    connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    return pair


def measure_dbos(place: Place, rounds: int) -> tuple[list[Pair], dict[str, str], list[str]]:
    """Measure the runs against workflows of DBOS on the same server."""
    ours = place.crowd(OURS, place.url)
    state = small_state()
    with RivalWorker(DBOS_ON_POSTGRES, place.url, place.runs, STEPS, state) as worker:
        pair = Pair(ours, worker.contender, "1/s", DBOS_ON_POSTGRES.goal)
        measure([pair], rounds, warm_ups=0, freeze=False)
        return [pair], worker.versions, [worker.promise]


async def read_share(place: Place, proxy: DelayProxy) -> float:
    """Give the bytes that a list takes, against those of the footers in it."""
    flow = CheckpointFlow(place.by(proxy.port), name="large", **place.options)
    flow.add_step(name="only")(lambda state: None)
    for number in range(LISTED):
        await flow.arun({"bytes": secrets.token_bytes(LARGE_BYTES)}, run_id=f"large-{number}")
    await flow.aruns(limit=1)  # The connection is there.
    before = proxy.received
    listed = await flow.aruns(limit=LISTED)
    taken = proxy.received - before
    assert len(listed) == LISTED
    with psycopg.connect(place.url) as connection:
        rows = f"{place.schema}.runs WHERE flow = 'large'"
        query = f"SELECT sum(length(footer)) FROM {rows}"  # noqa: S608 - a schema made here
        (footers,) = connection.execute(query.encode()).fetchone() or (0,)
    return taken / float(footers)


def measure_singles(
    place: Place, rounds: int, stack: ExitStack
) -> dict[str, tuple[str, Sequence[float]]]:
    """Measure what has no pair."""
    proxy = stack.enter_context(DelayProxy(*_address(place.url)))
    share = place.runner.run(read_share(place, proxy))
    taken = [
        place.runner.run(seconds_to_succession(place.url, place.options, f"killed-{number}"))
        for number in range(rounds)
    ]
    return {BYTES: ("", [share]), SUCCESSION: ("s", taken)}


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 5432


def _arguments() -> argparse.Namespace:
    made = parser("Rate and costs of durable steps on PostgreSQL.", rounds=5)
    made.add_argument("--runs", type=int, default=1000, help="how many runs there are at once")
    made.add_argument("--directory", type=Path, help="where SQLite writes; else a temporary one")
    made.add_argument("--no-rivals", action="store_true", help="leave DBOS out")
    arguments = made.parse_args()
    arguments.url, arguments.pooler = os.environ.get("POSTGRES_URL"), os.environ.get("POOLER_URL")
    if not arguments.url:
        made.error("POSTGRES_URL names no database")
    return arguments


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    schema = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(arguments.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        (server,) = connection.execute("SHOW server_version").fetchone() or ("",)
    try:
        _measure(arguments, schema, server)
    finally:
        with psycopg.connect(arguments.url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def _measure(arguments: argparse.Namespace, schema: str, server: str) -> None:
    with ExitStack() as stack:
        directory, runner = stack.enter_context(workplace(arguments.directory))
        place = Place(arguments.url, schema, directory, runner, arguments.runs)
        pairs = measure_crowds(place, arguments, stack)
        versions, promises = {"PostgreSQL": server, "psycopg": psycopg.__version__}, list[str]()
        if not arguments.no_rivals:
            against, more, promises = measure_dbos(place, min(arguments.rounds, 3))
            pairs += against
            versions |= more
        pairs.append(measure_one_run(place, arguments.rounds, stack))
        figures = measure_singles(place, arguments.rounds, stack)
        notes = [ABOUT_OURS, ABOUT_FLOOR, *promises]
        workload = (
            f"{arguments.runs} runs at once of {STEPS} steps, "
            f"state of {len(small_state())} plain values"
        )
        Report(workload, pairs, directory, versions, figures, notes, GOALS).finish(arguments.json)


if __name__ == "__main__":
    main()
