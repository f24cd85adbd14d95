"""A database with a table of payments, and steps that pay in the transaction of their snapshot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from postgres_server import PostgresServer
    from support import State

    from aiocheckpoint import Header

TABLE = "CREATE TABLE payments (run text NOT NULL, step text NOT NULL)"
PAY = "INSERT INTO payments VALUES (%s, %s)"
SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' "
    "AND pid <> pg_backend_pid() AND datname = current_database()"
)
COMMITTING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' "
    "AND datname = current_database()"
)
PATIENCE = 60.0
KINDS = ("coroutine", "sync")


def do_nothing() -> None:
    """Do nothing behind a payment."""


def pay(state: State) -> None:
    """Pay once for the step of a sync function."""
    step = current_step()
    step.connection().execute(PAY, (step.run_id or "", step.step))


async def apay(state: State) -> None:
    """Pay once for the step of a coroutine."""
    step = current_step()
    connection = await step.connection()
    await connection.execute(PAY, (step.run_id or "", step.step))


def payer(kind: str, behind: Callable[[], object] = do_nothing) -> Callable[[State], Any]:
    """Make a function that pays, and calls another one behind the payment."""

    def pay_in_thread(state: State) -> None:
        pay(state)
        state["paid"] = state.get("paid", 0) + 1
        behind()

    async def pay_on_loop(state: State) -> None:
        await apay(state)
        state["paid"] = state.get("paid", 0) + 1
        behind()

    return pay_on_loop if kind == "coroutine" else pay_in_thread


def until(condition: Callable[[], bool]) -> None:
    """Block until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Shop:
    """A database with an empty table of payments.

    Attributes:
        server: Its server.
        database: Its name.
        url: Its URL, which may lead through a proxy or a pooler.
        events: The events of all flows.
    """

    server: PostgresServer
    database: str
    url: str
    events: list[object] = field(default_factory=list[object])
    _flows: list[CheckpointFlow] = field(default_factory=list[CheckpointFlow])

    def __post_init__(self) -> None:
        """Make the table."""
        self.sql(TABLE)

    def flow(self, *steps: Callable[..., Any], **options: Any) -> CheckpointFlow:  # noqa: ANN401
        """Make a flow whose steps have the names "step 0", "step 1" and so on."""
        flow = CheckpointFlow(self.url, name="shop", hooks=[self.events.append], **options)
        for number, step in enumerate(steps):
            flow.add_step(name=f"step {number}")(step)
        self._flows.append(flow)
        return flow

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Execute a statement on a connection of its own."""
        return self.server.sql(statement, *values, database=self.database)

    def slow_commits(self, seconds: float) -> None:
        """Let each payment take so long in its commit."""
        self.delay_commits(f"pg_sleep({seconds})")

    def delay_commits(self, call: str) -> None:
        """Let each payment call a function of the server in its commit."""
        self.sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN PERFORM {call}; RETURN NULL; END'"
        )
        self.sql(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON payments DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION slow()"
        )

    def is_committing(self) -> bool:
        """Whether the server executes a COMMIT."""
        return self.sql(COMMITTING) != [(0,)]

    def paid(self) -> dict[tuple[str, str], int]:
        """The number of payments, by run and step."""
        return dict(Counter(self.sql("SELECT run, step FROM payments")))

    def header(self, run_id: str = "r") -> Header:
        """The stored header of a run."""
        header = self._flows[-1].header(run_id)
        assert header is not None
        return header

    def names(self) -> list[str]:
        """The names of the events of steps and snapshots so far."""
        named = [type(event).__name__ for event in self.events]
        return [name for name in named if name.startswith(("Step", "Attempt", "Snapshot"))]

    def close(self) -> None:
        """Close the connections of all flows."""
        for flow in self._flows:
            flow.handler.close()


class Gate:
    """Lets one side wait for the other, in tasks and threads alike."""

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Say that this side is here, and block until the other one opens the gate."""
        self._reached.set()
        assert self._open.wait(PATIENCE)

    def reached(self) -> None:
        """Block until the other side is here."""
        assert self._reached.wait(PATIENCE)

    def open(self) -> None:
        """Let the other side go on."""
        self._open.set()
