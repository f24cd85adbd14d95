"""Flows whose states have a type of their own, never run: the type checkers read them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, assert_type

from aiocheckpoint import CheckpointFlow, RunResult, Stream, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocheckpoint import Plan

Data = dict[str, Any]


class Order(TypedDict):
    """The state of an order."""

    total: int


class User(TypedDict):
    """The state of something else."""

    name: str


cp = CheckpointFlow[Order]("orders.db", handler="sqlite", keep=2)
plain = CheckpointFlow("checkpoint.pkl")
assert_type(cp, CheckpointFlow[Order])
assert_type(plain, CheckpointFlow[dict[str, Any]])


def load(state: Order) -> Data:
    """Load for an order."""
    return {"rows": [state["total"]]}


async def load_later(state: Order) -> Data:
    """Load for an order, asynchronously."""
    return load(state)


async def save(state: Order, data: Data) -> None:
    """Save an order."""


def load_user(state: User) -> Data:
    """Load for a user."""
    return {"name": state["name"]}


@cp.add_step()
def price(state: Order) -> None:
    """Be a step without data."""
    state["total"] += 1


@cp.add_step(load, save, name="ship", retry=3, before="price")
async def ship(state: Order, data: Data) -> str:
    """Be an asynchronous step with data, a loader and a saver."""
    return str(state["total"])


def limit(state: Order) -> asyncio.Semaphore:
    """Limit a step by its order."""
    return asyncio.Semaphore(state["total"])


cp.add_step(name="limited", limiter=limit)(ship)
cp.add_step(name="limited too", limiter=asyncio.Semaphore(2))(ship)


class Model:
    """A class whose methods are steps."""

    def fit(self, state: Order, data: Data) -> None:
        """Be a step with data."""

    def __call__(self, state: Order) -> None:
        """Be a step, as a callable object."""


def scaled(factor: int, state: Order, data: Data) -> None:
    """Be a step once its factor is given."""


def general(state: Any, data: Data) -> None:  # noqa: ANN401
    """Be a step of any flow."""


cp.add_step(load=load_later)(Model().fit)
cp.add_step(load=lambda state: {"n": state["total"]})(Model())
cp.add_step(save=partial(save))(partial(scaled, 2))
cp.add_step()(general)
plain.add_step()(general)

# The types of parameters and results stay, for tests that call a step as any other function.
assert_type(price({"total": 1}), None)


async def decorated() -> None:
    """Call a decorated coroutine function as any other."""
    assert_type(await ship({"total": 1}, {}), str)


class OrderFlow(CheckpointFlow[Order]):
    """A flow of orders."""


def takes(flow: CheckpointFlow) -> None:
    """Take a flow whose states are dicts, as without a parameter."""
    assert_type(flow.run(), dict[str, Any])


def of_any(flow: CheckpointFlow[Any]) -> Plan:
    """Take a flow of any states."""
    return flow.plan()


def migrate(state: Order, version: int) -> str | None:
    """Take an order of an older version on."""
    state["total"] += version
    return "ship" if version else None


async def migrate_later(state: Order, version: int) -> None:
    """Take an order of an older version on, asynchronously."""
    migrate(state, version)


def migrate_dict(state: dict[str, Any], version: int) -> None:
    """Take a state without a type of its own on."""


def releases() -> None:
    """Number the releases of flows."""
    assert_type(CheckpointFlow[Order]("a.db", version=1, migrate=migrate), CheckpointFlow[Order])
    CheckpointFlow[Order]("a.db", version=1, migrate=migrate_later)
    CheckpointFlow[Order]("a.db", version=1, migrate=lambda state, version: state["total"])
    assert_type(CheckpointFlow("a.db", version=1, migrate=migrate_dict), CheckpointFlow)
    takes(CheckpointFlow("a.db", version=1, migrate=lambda state, version: None))


def from_a_script() -> None:
    """Use the synchronous methods."""
    assert_type(cp.run({"total": 1}), Order)
    assert_type(cp.run(Order(total=1), run_id="order-42", data={})["total"], int)
    assert_type(cp.resume("order-42"), Order)
    assert_type(cp.read("order-42"), Order)
    assert_type(cp.check_point(), Order)
    assert_type(OrderFlow("orders.db").run(), Order)
    cp.patch({"total": 2})
    takes(plain)
    of_any(cp)


async def pairs() -> AsyncIterator[tuple[str, Order]]:
    """Give runs one by one."""
    yield "order-42", {"total": 1}


def of_a_result(result: RunResult[Order]) -> None:
    """Inspect the outcome of a run."""
    assert_type(result.state, Order | None)


async def from_a_service() -> None:
    """Use the asynchronous methods."""
    assert_type(await cp.arun({"total": 1}), Order)
    assert_type(await cp.aresume("order-42", {"total": 2}), Order)
    assert_type(await cp.aread("order-42"), Order)
    assert_type(await cp.aplan({"total": 1}), "Plan")
    assert_type(cp.amap({"order-42": Order(total=1)}), Stream[RunResult[Order]])
    assert_type(await cp.amap([("order-42", {"total": 1})]), list[RunResult[Order]])
    assert_type(await plain.amap({"order-42": {"a": 1}}), list[RunResult])
    assert_type(await cp.aresume_all(), list[RunResult[Order]])
    assert_type(cp.astream({"total": 1}), Stream[events.Event])
    task = asyncio.create_task(cp.aresume_all())
    assert_type(task, asyncio.Task[list[RunResult[Order]]])
    assert_type(await task, list[RunResult[Order]])
    async for result in cp.amap(pairs()):
        of_a_result(result)


def decorator() -> Callable[[Callable[[Data], None]], Callable[[Data], None]]:
    """Give the decorator of a flow of dicts, which keeps the function's own type."""
    return plain.add_step()


def misuses() -> None:
    """Show the misuses that the types refuse. An accepted line makes its ignore an error."""

    def of_user(state: User) -> None:
        """Be a step of another flow."""

    def of_dict(state: Data, data: Data) -> None:
        """Be a step that may put anything into its state."""

    cp.add_step()(of_user)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue,reportArgumentType]
    cp.add_step()(of_dict)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue,reportArgumentType]
    plain.add_step()(of_user)  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
    cp.add_step()(scaled)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue,reportArgumentType]
    CheckpointFlow[User]("a.db", version=1, migrate=migrate)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    cp.add_step(load=load_user)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue,reportArgumentType]
    cp.run({"name": "Ann"})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    cp.run({"total": 1})["name"]  # type: ignore[typeddict-item] # pyright: ignore[reportGeneralTypeIssues]
    cp.amap({"order-42": User(name="Ann")})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    takes(cp)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    CheckpointFlow[int]("numbers.pkl")  # type: ignore[type-var] # pyright: ignore[reportInvalidTypeArguments]
