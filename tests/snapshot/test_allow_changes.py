"""Under `allow=` loading changes nothing that is listed, and loads instances as ever."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import io
import re
import uuid
from typing import TYPE_CHECKING, Any

import hostile_pickles as hostile
import numpy as np
import pytest
from graphs import difference

from aiocheckpoint import (
    CheckpointError,
    LocalStateHandler,
    UnserializableStateError,
    UntrustedSnapshotError,
)
from aiocheckpoint._snapshot.pickling.unpicklers import load_restricted
from aiocheckpoint._snapshot.pickling.vetting import vet

if TYPE_CHECKING:
    from support import FlowFactory

MISSING = re.compile(r'"([^" ]+:[^" ]+)" is not among the globals of allow=')


@pytest.mark.parametrize("name", hostile.CHANGES)
def test_what_is_listed_is_not_changed(name: str, flows: FlowFactory) -> None:
    """No opcode changes a listed class, function or object, or another that the program holds."""
    before = hostile.listed_as_they_were()
    flows.path.write_bytes(hostile.dict_of(hostile.CHANGES[name]))
    with pytest.raises(CheckpointError):
        LocalStateHandler(flows.path, allow=hostile.LISTED).read()
    assert hostile.listed_as_they_were() == before


def test_the_error_names_what_would_be_changed(flows: FlowFactory) -> None:
    """The error names the listed object."""
    flows.path.write_bytes(hostile.dict_of(hostile.CHANGES["slots of a class"]))
    with pytest.raises(UntrustedSnapshotError, match="it changes hostile_pickles:Order"):
        LocalStateHandler(flows.path, allow=hostile.LISTED).read()


def listed_for(flows: FlowFactory, value: object) -> set[str]:
    """Add the globals of each error to the list until the value is stored, and give the list."""
    allow = set[str]()
    for _ in range(9):
        try:
            LocalStateHandler(flows.path, allow=allow, fsync=False).write({"deep": [value]})
        except UnserializableStateError as error:
            allow |= {name for _, why in error.offenders for name in MISSING.findall(why)}
        else:
            return allow
    raise AssertionError(allow)


OTHERS: dict[str, Any] = {
    "array of objects": np.array([{"a": 1}, None], dtype=object),
    "array not in one piece": np.arange(12).reshape(3, 4).T[::2],
    "dates": [dt.datetime(2024, 2, 29, tzinfo=dt.UTC), dt.date(2024, 1, 1), dt.timedelta(5)],
    "number": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=5),
    "range": range(5),
}


@pytest.mark.parametrize("name", [*hostile.OBJECTS, *OTHERS])
def test_instances_are_loaded(name: str, flows: FlowFactory) -> None:
    """Instances of listed classes are stored and loaded, however they are pickled."""
    value = {**hostile.OBJECTS, **OTHERS}[name]
    allow = listed_for(flows, value)
    loaded = LocalStateHandler(flows.path, allow=allow).read()["deep"][0]
    assert type(loaded) is type(value)
    if isinstance(value, np.ndarray):
        assert np.array_equal(loaded, value)
    elif not isinstance(value, Exception):
        assert difference(value, loaded) is None or loaded == value
    if hasattr(value, "__dict__"):
        assert vars(loaded).keys() == vars(value).keys()


@pytest.mark.parametrize("name", ["dataclass", "slots", "ordered dict", "default dict", "deque"])
def test_usual_instances_need_no_watching(name: str) -> None:
    """The C unpickler loads instances that Python itself makes, which are always new."""
    data = hostile.dumped([hostile.OBJECTS[name]])
    allow = {f"hostile_pickles:{one}" for one in ("Point", "Slotted")}
    allow |= {f"collections:{one}" for one in ("OrderedDict", "defaultdict", "deque")}
    makers = vet(io.BytesIO(data), len(data), frozenset({*allow, "builtins:list"}))
    assert all(maker.name is not None for maker in makers)


def test_a_container_cannot_be_listed(flows: FlowFactory) -> None:
    """A listed dict is neither stored by its name nor loaded, as calls could change it."""
    allow = ("hostile_pickles:LIMITS", "hostile_pickles:SHARED")
    flows.path.write_bytes(hostile.dict_of(hostile.named("LIMITS")))
    with pytest.raises(UntrustedSnapshotError, match="hostile_pickles:LIMITS, a dict"):
        LocalStateHandler(flows.path, allow=allow).read()


def test_enums_by_name_alone(flows: FlowFactory) -> None:
    """`getattr`, which early releases of Python 3.11 use for enums, gives members alone."""
    get = hostile.text("builtins") + hostile.text("getattr") + b"\x93"
    member = get + hostile.named("Colour") + hostile.text("RED") + b"\x86R"
    flows.path.write_bytes(hostile.dict_of(member))
    allow = ("hostile_pickles:Colour", "hostile_pickles:Order")
    handler = LocalStateHandler(flows.path, allow=allow)
    assert handler.read()["k"] is hostile.Colour.RED
    refused = {
        "other attribute": get + hostile.named("Colour") + hostile.text("__init__") + b"\x86R",
        "other class": get + hostile.named("Order") + hostile.text("price") + b"\x86R",
        "text": get + hostile.text("a") + hostile.text("join") + b"\x86R",
        "itself": get,
        "itself in a list": b"(" + get + b"l",
        "itself as an argument": hostile.named("Order") + get + b"\x85R",
    }
    for stream in refused.values():
        flows.path.write_bytes(hostile.dict_of(stream))
        with pytest.raises(UntrustedSnapshotError):
            handler.read()


def test_watched_streams_load_the_same() -> None:
    """Python's own unpickler, where it is needed, gives what the C one gives."""
    value = [
        hostile.Reduced(),
        collections.OrderedDict(a=hostile.Point(1)),
        {(1, 2): {3}},
        b"x" * 70_000,
    ]
    allow = frozenset(
        {f"hostile_pickles:{one}" for one in ("make_reduced", "Point")}
        | {"collections:OrderedDict"}
    )
    loaded = load_restricted(io.BytesIO(hostile.dumped(value)), allow)
    assert loaded[1:] == value[1:]
    assert type(loaded[0]) is hostile.Reduced
