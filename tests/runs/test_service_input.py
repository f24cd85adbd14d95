"""Invalid arguments of `amap`, `astream` and `adrain` are refused at once, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import pairs_of
from case_ids import plain_repr

from aiocheckpoint import FlowDefinitionError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from run_factories import Runs
    from support import FlowFactory, State

NAN = float("nan")

LIMITS: list[tuple[Any, type[Exception]]] = [
    *((limit, InvalidTypeError) for limit in (None, "3", 1.5, True)),
    *((limit, InvalidValueError) for limit in (0, -1)),
]
POLICIES: list[tuple[Any, type[Exception]]] = [
    *((policy, InvalidTypeError) for policy in (1, [1, 0, 1])),
    *((policy, InvalidValueError) for policy in ("sometimes", [True])),
]
NO_RUNS: list[Any] = [None, 3, "run", b"run", object(), list]
NO_PAIRS: list[Any] = [
    *("xy", ["x", {}], ("x",), ("x", {}, {}), ("x", None), (1, {}), (None, {}), {"x": {}}, None),
]


@pytest.mark.parametrize(("limit", "error"), LIMITS, ids=repr)
def test_limit(limit: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401
    """A limit is a number of runs from 1. Another one is refused at the call, before any loop."""
    with pytest.raises(error, match="limit="):
        database.flow().amap({"x": {}}, limit=limit)


@pytest.mark.parametrize(("policy", "error"), POLICIES, ids=repr)
def test_load_policy(policy: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401
    """An invalid policy is refused once, at the call."""
    with pytest.raises(error):
        database.flow().amap({"x": {}}, policy)


@pytest.mark.parametrize("given", NO_RUNS, ids=plain_repr)
def test_what_is_no_source(given: Any, database: Runs) -> None:  # noqa: ANN401
    """A source that is no iterable of pairs is refused at the call."""
    with pytest.raises(InvalidTypeError, match="dict of states by run id"):
        database.flow().amap(given)


@pytest.mark.parametrize("pair", NO_PAIRS, ids=repr)
async def test_what_is_no_pair(pair: Any, database: Runs) -> None:  # noqa: ANN401
    """An item that is no pair of an id and a dict is an error of the stream, after earlier runs."""
    cp, found = database.flow("a"), list[str | None]()
    with pytest.raises(InvalidTypeError, match="a run id and a state"):  # noqa: PT012
        async for result in cp.amap([("good", {}), pair]):
            found.append(result.run_id)
    assert found == ["good"]
    assert [one.run_id for one in await cp.aruns()] == ["good"]


@pytest.mark.parametrize(
    "states", [{1: {}}, {None: {}}, {"x": None}, {"x": [1]}, {"": {}}], ids=repr
)
def test_dict_of_other_things(states: Any, database: Runs) -> None:  # noqa: ANN401
    """A dict of states is checked at the call, before any run."""
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        database.flow("a").amap(states)
    assert database.files() == {}


async def test_no_pair_of_an_async_source(database: Runs) -> None:
    """The same error is raised for an item of an async iterable."""

    async def pairs() -> AsyncGenerator[Any, None]:
        yield "good", {}
        yield {}

    with pytest.raises(InvalidTypeError, match="not a dict"):
        await database.flow("a").amap(pairs())
    assert database.ran() == ["a"]


async def test_id_that_cannot_be_one(database: Runs) -> None:
    """An iterable's string that cannot be a run id gives a result with that error. Others run."""
    found = await database.flow("a").amap(pairs_of({"": {}, "x": {}}))
    assert {one.run_id: type(one.error) for one in found} == {
        "": InvalidValueError,
        "x": type(None),
    }


def test_once_of_a_handler_of_dicts(flows: FlowFactory) -> None:
    """A method that a handler of one dict does not support is refused at the call."""

    class Own:
        def __init__(self, path: object) -> None:
            """Keep nothing."""

        def read(self) -> dict[str, Any]:
            return {}

        def write(self, state: dict[str, Any]) -> None:
            """Keep nothing."""

    with pytest.raises(InvalidValueError, match="once=True"):
        flows.flow(handler=Own).amap({"x": {}}, once=True)


async def test_flow_without_steps(database: Runs) -> None:
    """Each result of a flow without steps is an error that says so, and so does its stream."""
    (result,) = await database.empty_flow().amap({"x": {}})
    assert isinstance(result.error, FlowDefinitionError)
    with pytest.raises(FlowDefinitionError):
        await database.empty_flow().astream({}, run_id="x")


EMPTY: State = {}
NO_STATES: tuple[Any, ...] = ([], "x", 1)
STREAMED: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({"state": state}, InvalidTypeError) for state in NO_STATES),
    *(({"run_id": run_id}, InvalidTypeError) for run_id in (1, b"x")),
    *(({"wait": wait}, InvalidTypeError) for wait in ("1", None, True)),
    *(({"wait": wait}, InvalidValueError) for wait in (-1, NAN)),
    ({"run_id": ""}, InvalidValueError),
    ({"update": 3}, InvalidTypeError),
    ({"update": {}, "state": EMPTY}, InvalidValueError),
    ({"once": True, "checkpoint": 1}, InvalidValueError),
]


@pytest.mark.parametrize(("arguments", "error"), STREAMED, ids=repr)
def test_astream(arguments: dict[str, Any], error: type[Exception], database: Runs) -> None:
    """Invalid arguments of a stream are refused at the call, where possible."""
    with pytest.raises(error):
        database.flow().astream(**arguments)


LATER: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({"load_policy": policy}, error) for policy, error in POLICIES),
    *(({name: "x"}, InvalidValueError) for name in ("until", "checkpoint")),
    ({"update": {"ok": True}}, InvalidValueError),
]


@pytest.mark.parametrize(("arguments", "error"), LATER, ids=repr)
async def test_astream_later(
    arguments: dict[str, Any], error: type[Exception], database: Runs
) -> None:
    """The other invalid arguments are refused by the loop, before any event, and nothing runs."""
    events = database.flow().astream(**arguments)
    with pytest.raises(error):
        await anext(events)
    assert (database.log, database.events) == ([], [])


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        *((timeout, InvalidTypeError) for timeout in ("x", True, [1])),
        *((timeout, InvalidValueError) for timeout in (-1, -0.1, NAN, float("inf"))),
    ],
    ids=repr,
)
async def test_adrain(timeout: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401, ASYNC109
    """A time limit is a number of seconds from 0. With another one nothing is drained."""
    cp = database.flow("a")
    with pytest.raises(error, match="timeout="):
        await cp.adrain(timeout)
    assert (await cp.arun({}, run_id="x"))["trail"] == ["a"]
    assert await cp.adrain(timeout=0) == []
