"""What `amap`, `astream` and `adrain` are given that cannot be meant: said at once, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import pairs_of

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
    *((policy, InvalidTypeError) for policy in (None, 1, [1, 0, 1])),
    *((policy, InvalidValueError) for policy in ("sometimes", [True])),
]
NO_RUNS: list[Any] = [None, 3, "run", b"run", object(), list]
NO_PAIRS: list[Any] = [
    *("xy", ["x", {}], ("x",), ("x", {}, {}), ("x", None), (1, {}), (None, {}), {"x": {}}, None),
]


@pytest.mark.parametrize(("limit", "error"), LIMITS, ids=repr)
def test_limit(limit: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401
    """A limit is a number of runs from 1; said at the call, before a loop is there."""
    with pytest.raises(error, match="limit="):
        database.flow().amap({"x": {}}, limit=limit)


@pytest.mark.parametrize(("policy", "error"), POLICIES, ids=repr)
def test_load_policy(policy: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401
    """A policy that cannot be meant is said at the call, and not once for each run."""
    with pytest.raises(error):
        database.flow().amap({"x": {}}, policy)


@pytest.mark.parametrize("given", NO_RUNS, ids=repr)
def test_what_is_no_source(given: Any, database: Runs) -> None:  # noqa: ANN401
    """What cannot be looped over for pairs is said at the call."""
    with pytest.raises(InvalidTypeError, match="dict of states by run id"):
        database.flow().amap(given)


@pytest.mark.parametrize("pair", NO_PAIRS, ids=repr)
async def test_what_is_no_pair(pair: Any, database: Runs) -> None:  # noqa: ANN401
    """What is no pair of an id and a dict is said by the stream, behind the runs before it."""
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
    """A dict is looked through at the call, so that nothing of it runs."""
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        database.flow("a").amap(states)
    assert database.files() == {}


async def test_no_pair_of_an_async_source(database: Runs) -> None:
    """The same is said of what an async iterable gives."""

    async def pairs() -> AsyncGenerator[Any, None]:
        yield "good", {}
        yield {}

    with pytest.raises(InvalidTypeError, match="not a dict"):
        await database.flow("a").amap(pairs())
    assert database.ran() == ["a"]


async def test_id_that_cannot_be_one(database: Runs) -> None:
    """Of a string from an iterable that can be no run id, the result says so; others run."""
    found = await database.flow("a").amap(pairs_of({"": {}, "x": {}}))
    assert {one.run_id: type(one.error) for one in found} == {
        "": InvalidValueError,
        "x": type(None),
    }


def test_once_of_a_handler_of_dicts(flows: FlowFactory) -> None:
    """What a handler of one's own cannot tell is said at the call."""

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
    """Each result of a flow that has no steps says so, and so does its stream."""
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
    """What can be known of the arguments of a stream is said at the call."""
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
    """The rest is said by the loop, before any event, and nothing runs."""
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
    """A time limit is a number of seconds from 0; for another one nothing is drained."""
    cp = database.flow("a")
    with pytest.raises(error, match="timeout="):
        await cp.adrain(timeout)
    assert (await cp.arun({}, run_id="x"))["trail"] == ["a"]
    assert await cp.adrain(timeout=0) == []
