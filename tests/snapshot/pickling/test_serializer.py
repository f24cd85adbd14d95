"""Serialising: dill's reach and pickle's speed, with the same results on loading as dill's."""

from __future__ import annotations

import copyreg
import functools
import io
import json
import pickle
import sys
import types
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dill  # type: ignore[import-untyped]
import pytest
import sample_objects
from by_value import (
    CODE,
    Frozen,
    cached,
    make_class,
    make_class_and_function,
    make_closures,
    make_enum_member,
    make_metaclass,
    make_recursive,
    make_wrapped,
)
from case_ids import plain_repr
from graphs import difference
from streams import dump_whole, load_by_dill, load_whole

from aiocheckpoint._snapshot.pickling.serializer import (
    NotSmallError,
    UnserializableError,
    dump_small,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def check_as_dill(obj: object) -> Any:  # noqa: ANN401 - any object at all
    """Check that an object loads as from plain dill, with every loader, and give the copy."""
    data = dump_whole(obj).data
    theirs = load_by_dill(obj)
    assert difference(theirs, load_whole(data)) is None
    assert difference(theirs, dill.loads(data)) is None
    return load_whole(data)


# --- the comparison itself

SHARED = [1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1], (1,)),
        ([1], [1.0]),
        ([True], [1]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([SHARED, SHARED], [[1], [1]]),
        ([[1], [1]], [SHARED, SHARED]),
        (OrderedDict(a=1), {"a": 1}),
        (sample_objects.OwnDict(), sample_objects.with_attributes(sample_objects.OwnDict())),
        (sample_objects.Slotted(1), sample_objects.Slotted(2)),
        (sample_objects.Colour.RED, sample_objects.Colour.BLUE),
        (lambda: 1, lambda: 2),
        (functools.partial(len, [1]), functools.partial(len, [2])),
        (sample_objects.Node, sample_objects.Slots),
        (frozenset({1}), frozenset({2})),
        (deque([1], maxlen=2), deque([1], maxlen=3)),
    ],
    ids=plain_repr,
)
def test_comparison_sees_differences(one: object, other: object) -> None:
    """The comparison behind these tests distinguishes different graphs, and no others."""
    assert difference(one, other) is not None
    assert difference(one, one) is None
    assert difference([other, other], [other, other]) is None


# --- data


@pytest.mark.parametrize("name", sample_objects.PLAIN)
def test_plain_data(name: str) -> None:
    """Plain data is written by the C pickler, byte for byte, and loads unchanged."""
    state = {"v": sample_objects.PLAIN[name], "again": sample_objects.PLAIN[name]}
    dumped = dump_whole(state)
    assert dumped.data == pickle.dumps(state, 5)
    assert (dumped.code, dumped.by_dill) == (False, False)
    check_as_dill(state)


@pytest.mark.parametrize("name", sample_objects.PLAIN)
def test_plain_data_needs_no_dill_to_load(name: str) -> None:
    """Every unpickler reads plain data: the C one and the one in pure Python."""
    state = {"v": sample_objects.PLAIN[name], "again": sample_objects.PLAIN[name]}
    data = dump_whole(state).data
    in_python: Any = pickle._Unpickler  # noqa: SLF001
    expected = load_whole(data)
    assert difference(expected, pickle.loads(data)) is None
    assert difference(expected, in_python(io.BytesIO(data)).load()) is None


@pytest.mark.parametrize("name", sample_objects.REACH)
def test_what_only_dill_writes(name: str) -> None:
    """Objects that pickle refuses or writes differently load as from dill, and are not code."""
    state = {"v": sample_objects.REACH[name], "again": sample_objects.REACH[name]}
    assert check_as_dill(state)["v"] is not None
    assert dump_whole(state).code is False


def test_plain_data_stays_plain_beside_what_is_shared() -> None:
    """A list shared by plain data and a function is one list after loading."""
    shared = [1]
    state = {"plain": shared, "code": lambda: shared}
    loaded = check_as_dill(state)
    assert loaded["code"]() is loaded["plain"]


# --- code


@pytest.mark.parametrize("name", CODE)
def test_code_by_value(name: str) -> None:
    """Functions and classes without an importable name load as from dill, and count as code."""
    made = CODE[name]()
    state = {"v": made, "again": [made]}
    check_as_dill(state)
    assert dump_whole(state).code is True


def test_code_by_value_works() -> None:
    """Loaded functions can be called, and share the objects that they shared before."""
    add, show = load_whole(dump_whole(make_closures()).data)
    assert (add(), add(), show()) == (1, 2, 2)
    assert load_whole(dump_whole(make_recursive()).data)(5) == 120
    local = load_whole(dump_whole(make_class()).data)
    assert type(local().another()) is local
    assert (local().text, type(local.of())) == ("a text", local)
    holder = load_whole(dump_whole(make_class_and_function()).data)
    assert type(holder.make()) is holder
    assert load_whole(dump_whole(make_metaclass()).data).shout() == "MADE"
    assert load_whole(dump_whole(make_wrapped()).data)(1) == ((1, 2), "counted")


def test_what_dill_cannot_write_either() -> None:
    """A value that dill cannot write, such as an enum of the functional API, is refused."""
    state = {"v": make_enum_member()}
    try:
        load_by_dill(state)
    except Exception:  # noqa: BLE001 - it differs by version
        with pytest.raises(UnserializableError):
            dump_whole(state)
    else:
        check_as_dill(state)


def test_decorated_by_another_module(module: Any) -> None:  # noqa: ANN401
    """A wrapper made in one module for a function of another keeps its globals."""
    exec(DECORATING, vars(module))  # noqa: S102
    wrapper = module.decorate(sample_objects.function)
    state = {"v": wrapper}
    assert dump_whole(state).code is True
    assert check_as_dill(state)["v"](1) == ((1, 2), "old")


def test_local_named_tuple() -> None:
    """A named tuple's local class keeps its fields."""
    local = namedtuple("local", "a b", defaults=[2])  # noqa: PYI024 - made at run time
    loaded = check_as_dill({"v": local(1)})["v"]
    assert (loaded.a, loaded.b, type(loaded).__name__) == (1, 2, "local")


DECORATING = """
import functools
def decorate(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args), f()
    return wrapper
"""


@pytest.fixture
def module() -> Iterator[Any]:
    """Give an importable module made for one test."""
    made = types.ModuleType("made_for_a_test")
    exec("def f():\n    return 'old'\nclass C:\n    kind = 'old'\n", vars(made))  # noqa: S102
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.parametrize("name", ["f", "C"])
@pytest.mark.parametrize("change", ["replaced", "deleted", "module gone"])
def test_names_that_find_something_else(name: str, change: str, module: Any) -> None:  # noqa: ANN401
    """A function or class whose name was rebound or deleted is written by value."""
    old = getattr(module, name)
    assert dump_whole([old]).code is False
    if change == "replaced":
        setattr(module, name, "something else")
    elif change == "deleted":
        delattr(module, name)
    else:
        module = sys.modules[module.__name__] = types.ModuleType(module.__name__)
    state = {"v": old, "plain": [1]}
    assert dump_whole(state).code is True
    loaded = check_as_dill(state)["v"]
    assert loaded is not old
    assert (loaded.kind if name == "C" else loaded()) == "old"


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a Python at its prompt."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "by dill"])
def test_class_defined_anew(beside: object, module: Any) -> None:  # noqa: ANN401
    """Instances of a class that was defined anew are stored by its name, with dill and without."""
    old = module.C()
    old.word = "kept"
    exec("class C:\n    kind = 'new'\n", vars(module))  # noqa: S102
    dumped = dump_whole({"old": old, "again": [old, type(old)], "new": module.C(), "b": beside})
    for loaded in (load_whole(dumped.data), dill.loads(dumped.data)):
        assert [type(loaded[name]) for name in ("old", "new")] == [module.C, module.C]
        assert loaded["again"] == [loaded["old"], module.C]
        assert vars(loaded["old"]) == {"word": "kept"}
    assert dumped.code is (beside is not None)


NAMESAKES = {
    "a subclass": "class C(C):\n    pass\n",
    "both in use": "B = C\nclass C:\n    kind = 'new'\n",
}


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("how", NAMESAKES)
def test_namesake_of_a_class(how: str, module: Any) -> None:  # noqa: ANN401
    """A class that took a name beside the older one does not take its instances."""
    old = module.C()
    exec(NAMESAKES[how], vars(module))  # noqa: S102
    assert dump_whole({"old": old}).code is True
    loaded = check_as_dill({"old": old, "new": module.C()})
    assert type(loaded["old"]) is not type(loaded["new"]) is module.C
    assert loaded["old"].kind == "old"


BY_NAME = {
    "class method": Frozen.of,
    "cached": cached,
    "bound method": Frozen(3).more,
    "nested function": sample_objects.Outer.method,
}


def _function(method: Any) -> object:  # noqa: ANN401
    return getattr(method, "__func__", method)


@pytest.mark.parametrize("name", BY_NAME)
def test_functions_by_name(name: str) -> None:
    """Methods and cached functions are stored by name: without code, and by the C pickler."""
    dumped = dump_whole({"v": BY_NAME[name]})
    assert (dumped.code, dumped.by_dill) == (False, False)
    beside = dump_whole({"v": BY_NAME[name], "f": lambda: 1})
    for data in (dumped.data, beside.data):
        loaded = load_whole(data)["v"]
        assert _function(loaded) is _function(BY_NAME[name])


def test_module_by_name(module: Any) -> None:  # noqa: ANN401
    """A module is stored by its name, without its globals, which loading leaves alone."""
    module.word = "stored"
    dumped = dump_whole({"v": module})
    module.word = "mended"
    assert load_whole(dumped.data)["v"] is module
    assert (module.word, dumped.code, b"stored" in dumped.data) == ("mended", False, False)


# --- types registered by users


class Handle:
    """Is pickled in a way registered with dill at run time."""

    def __init__(self, name: str) -> None:
        self.name = name


class OwnMeta(type):
    """A metaclass."""


class Made(metaclass=OwnMeta):
    """A class with an importable name."""


@pytest.fixture
def register() -> Iterator[Callable[[type, Callable[[Any], tuple[Any, ...]]], None]]:
    """Give a function that registers types with dill, and undo it in the end."""
    before = dict(dill.Pickler.dispatch)

    def report(kind: type, reduce: Callable[[Any], tuple[Any, ...]]) -> None:
        @dill.register(kind)  # type: ignore[untyped-decorator]
        def save(pickler: Any, obj: object) -> None:  # noqa: ANN401
            pickler.save_reduce(*reduce(obj), obj=obj)

    yield report
    dill.Pickler.dispatch.clear()
    dill.Pickler.dispatch.update(before)


def test_type_registered_with_dill(register: Callable[..., None]) -> None:
    """A type registered at run time, even after it was dumped, is written in the new way."""
    state = {"v": [Handle("a")], "plain": {"b": [1]}}
    assert check_as_dill(state)["v"][0].name == "a"
    register(Handle, lambda obj: (Handle, (obj.name + ", registered",)))
    loaded = check_as_dill(state)
    assert loaded["v"][0].name == "a, registered"
    assert dump_whole(state).code is False


@pytest.mark.parametrize("kind", [range, slice, type(...), OrderedDict, sample_objects.Point])
def test_plain_type_registered_with_dill(kind: Any, register: Callable[..., None]) -> None:  # noqa: ANN401
    """A user's registration applies to types that pickle knows as well."""
    value = ... if kind is type(...) else kind(*([("a", 1)],) if kind is OrderedDict else (1, 2))
    register(kind, lambda obj: (str, (f"registered {type(obj).__name__}",)))
    assert check_as_dill({"v": value})["v"] == f"registered {kind.__name__}"


def test_metaclass_registered_with_dill(register: Callable[..., None]) -> None:
    """Classes of a registered metaclass are written in its way, even with an importable name."""
    assert check_as_dill({"v": Made})["v"] is Made
    register(OwnMeta, lambda cls: (str, (f"registered {cls.__name__}",)))
    assert check_as_dill({"v": Made})["v"] == "registered Made"


def test_registered_with_copyreg() -> None:
    """A reducer registered with copyreg at run time applies, as with dill."""
    copyreg.pickle(Handle, lambda obj: (Handle, (obj.name + ", by copyreg",)))
    try:
        assert check_as_dill({"v": Handle("a")})["v"].name == "a, by copyreg"
    finally:
        del copyreg.dispatch_table[Handle]


def test_settings_of_dill_count() -> None:
    """A user's `dill.settings` apply to snapshots, as to `dill.dump`."""
    local = make_class()
    dill.settings["byref"] = True
    try:
        with pytest.raises(UnserializableError):
            dump_whole({"v": local})
    finally:
        dill.settings["byref"] = False
    assert json.dumps({"v": dump_whole({"v": local}).code}) == '{"v": true}'


QUICK = {
    "datetime": datetime(2026, 1, 2, tzinfo=UTC),
    "timedelta": timedelta(1),
    "decimal": Decimal("0.10"),
    "uuid": UUID(int=3),
}


@pytest.mark.parametrize("name", QUICK)
def test_quick_values(name: str) -> None:
    """Times, decimals and UUIDs are written the same on the loop and in a thread."""
    state = {"value": QUICK[name], "class": type(QUICK[name])}
    assert pickle.loads(dump_small(state)) == state


def test_namesakes_are_not_quick() -> None:
    """A class that imitates a quick class is not quick, and its code does not run."""
    ran: list[object] = []

    def reduce(thing: object) -> tuple[object, ...]:
        ran.append(thing)
        return object, ()

    fake = type("Decimal", (), {"__module__": "decimal", "__reduce__": reduce})
    with pytest.raises(NotSmallError):
        dump_small({"value": fake()})
    assert ran == []
