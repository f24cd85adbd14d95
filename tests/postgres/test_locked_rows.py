"""A row that another session locks, or that takes too long, holds up its run alone."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aiocheckpoint import CheckpointFlow, RunInProgressError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer
    from support import State

LEASE = 1.0
STEPS = 200
LOCK = "SELECT FROM aiocheckpoint.runs WHERE run_id = 'held' FOR UPDATE"
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON aiocheckpoint.runs FOR EACH ROW
    WHEN (NEW.run_id = 'held' AND NEW.position = 1) EXECUTE FUNCTION slow()"""


@pytest.fixture(params=["direct", "behind a pooler"])
def url(database: str, postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database, without and with a pooler."""
    if request.param == "direct":
        return postgres.url(database)
    pooler: PgBouncer = request.getfixturevalue("pooler")
    return pooler.url(database)


class Flows:
    """A flow with a run that waits for a sign in its first step, and one with many steps.

    Attributes:
        held: A process of its own, as far as the store knows.
        other: Another one.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.sign = asyncio.Event()
        self.begun = asyncio.Event()
        self.held = self._flow(url, patience)
        self.other = self._flow(url, patience + 1.0)

    def _flow(self, url: str, patience: float) -> CheckpointFlow[Any]:
        flow = CheckpointFlow[Any](url, name="f", lease=LEASE, patience=patience)

        @flow.add_step()
        async def wait(state: State) -> None:
            if state["waits"]:
                self.begun.set()
                await self.sign.wait()

        for number in range(STEPS):

            @flow.add_step(name=f"step {number}")
            async def count(state: State) -> None:
                state["steps"] = state.get("steps", 0) + 1
                await asyncio.sleep(0 if state["waits"] else 3 * LEASE / STEPS)

        return flow

    async def begin(self) -> asyncio.Task[Any]:
        """Begin the run that is to be held up."""
        task = asyncio.create_task(self.held.arun({"waits": True}, run_id="held"))
        await self.begun.wait()
        return task

    async def go_on_beside(self) -> None:
        """Execute all steps of another run, in more time than a lease."""
        state = await self.held.arun({"waits": False}, run_id="beside")
        assert state["steps"] == STEPS

    def close(self) -> None:
        """Close both."""
        self.held.handler.close()
        self.other.handler.close()


@contextmanager
def locked(postgres: PostgresServer, database: str) -> Generator[None]:
    """Hold the row of the run."""
    with psycopg.connect(postgres.url(database)) as connection:
        assert connection.execute(LOCK).rowcount == 1
        yield


async def test_steps_of_others_go_on(postgres: PostgresServer, database: str, url: str) -> None:
    """Others store their steps, all leases are kept, and the run goes on when the lock goes."""
    with closing(Flows(url, patience=60.0)) as flows:
        held = await flows.begin()
        with locked(postgres, database):
            flows.sign.set()
            await flows.go_on_beside()
            assert not held.done()
            with pytest.raises(RunInProgressError):
                await flows.other.arun({"waits": True}, run_id="held")
        assert (await held)["steps"] == STEPS


async def test_end_of_patience_with_a_lock(
    postgres: PostgresServer, database: str, url: str
) -> None:
    """The run ends when its patience is over. Others wait neither for it nor for its release."""
    with closing(Flows(url, patience=2.0)) as flows:
        held = await flows.begin()
        with locked(postgres, database):
            flows.sign.set()
            with pytest.raises(StoreUnreachableError, match="lock timeout"):
                await held
            await flows.go_on_beside()
            with pytest.raises(RunInProgressError):
                await flows.other.arun({"waits": True}, run_id="held")
        assert (await flows.other.arun(run_id="held", wait=60))["steps"] == STEPS


async def test_statement_that_takes_too_long(postgres: PostgresServer, database: str) -> None:
    """A snapshot that takes longer than `statement_timeout` holds up its run alone."""
    url = postgres.url(database, options="-c statement_timeout=300")
    with closing(Flows(url, patience=60.0)) as flows:
        held = await flows.begin()
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            connection.execute(SLOW)
            flows.sign.set()
            await flows.go_on_beside()
            assert not held.done()
            connection.execute("SET lock_timeout = '30s'")
            connection.execute("DROP FUNCTION slow CASCADE")
        assert (await held)["steps"] == STEPS
