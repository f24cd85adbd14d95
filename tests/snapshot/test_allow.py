"""Under `allow=` a state is stored only if it would load. The error names missing globals."""

from __future__ import annotations

import copyreg
import datetime as dt
import decimal
import enum
import operator
import re
import socket
import subprocess
import sys
import types
import uuid
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sample_objects
from graphs import difference
from locations import program
from support import add_with

from aiocheckpoint import (
    CheckpointFlow,
    LocalStateHandler,
    UnserializableStateError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import FlowFactory, Runner

MISSING = re.compile(r'"([^" ]+:[^" ]+)" is not among the globals of allow=')


class Colour(enum.Enum):
    """An enum to store."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum of ints."""

    LOW = 1


class Access(enum.Flag):
    """Flags to store."""

    READ = 1
    WRITE = 2


class ReducedByGetattr:
    """A base of enums that are reduced as in Python 3.11.0 to 3.11.3, Debian 12's among them."""

    def __reduce_ex__(self, proto: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as in typeshed
        member: Any = self
        if isinstance(member, enum.Flag) and member.name not in type(member).__members__:
            return operator.or_, tuple(member)
        return getattr, (type(member), member.name)


class Early(ReducedByGetattr, enum.Enum):
    """An enum of an early release."""

    ONE = 1


class EarlyFlag(ReducedByGetattr, enum.Flag):
    """Flags of an early release."""

    ONE = 1
    TWO = 2


class Named:
    """Pickles itself as a global."""

    def __reduce__(self) -> str:
        return "NAMED"


NAMED = Named()


class Registered:
    """Is pickled by an entry in copyreg's table."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registered) and other.number == self.number

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


class Text(str):
    """A subclass of str."""

    __slots__ = ()


def function(number: int) -> int:
    """Do nothing, in a module."""
    return number


HERE = __name__
VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "datetime": (lambda: dt.datetime(2024, 2, 29, tzinfo=dt.UTC), "datetime:datetime"),
    "complex": (lambda: 1j, "builtins:complex"),
    "class": (lambda: decimal.Decimal, "decimal:Decimal"),
    "built-in class": (lambda: dict, "builtins:dict"),
    "own class": (lambda: Colour, f"{HERE}:Colour"),
    "nested class": (lambda: sample_objects.OwnDict, "sample_objects:OwnDict"),
    "enum": (lambda: Colour.RED, f"{HERE}:Colour"),
    "enum of numbers": (lambda: Level.LOW, f"{HERE}:Level"),
    "flags": (lambda: Access.READ | Access.WRITE, f"{HERE}:Access"),
    "early enum": (lambda: Early.ONE, f"{HERE}:Early"),
    "early flags": (lambda: EarlyFlag.ONE | EarlyFlag.TWO, f"{HERE}:EarlyFlag"),
    "enum of socket": (lambda: socket.AF_INET, "socket:A"),
    "function": (lambda: function, f"{HERE}:function"),
    "built-in function": (lambda: len, "builtins:len"),
    "method of a class": (lambda: "x".join, "builtins:getattr"),
    "class of None": (lambda: type(None), "builtins:type"),
    "type": (lambda: type, "builtins:type"),
    "Ellipsis": (lambda: ..., "builtins:Ellipsis"),
    "NotImplemented": (lambda: NotImplemented, "builtins:NotImplemented"),
    "range": (lambda: range(2), "builtins:range"),
    "slice": (lambda: slice(2), "builtins:slice"),
    "alias": (lambda: list[int], "types:GenericAlias"),
    "path": (lambda: PurePosixPath("a"), "pathlib"),
    "uuid": (lambda: uuid.UUID(int=5), "uuid:UUID"),
    "kind of text": (lambda: Text("a"), f"{HERE}:Text"),
    "kind of dict": (lambda: sample_objects.OwnDict(a=1), "sample_objects:OwnDict"),
    "exception": (lambda: ValueError("a"), "builtins:ValueError"),
    "array": (lambda: np.arange(3), "numpy"),
    "number of numpy": (lambda: np.float64(1.5), "numpy"),
    "type of numpy": (lambda: np.dtype("int8"), "numpy:dtype"),
    "function of numpy": (lambda: np.sin, "numpy"),
    "reduced to a text": (lambda: NAMED, f"{HERE}:NAMED"),
    "table of copyreg": (lambda: Registered(5), f"{HERE}:make_registered"),
}


def make_registered(number: int) -> Registered:
    """Make an instance from its stored value."""
    return Registered(number)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    copyreg.pickle(Registered, lambda one: (make_registered, (one.number,)))
    yield
    del copyreg.dispatch_table[Registered]


def missing_in(error: UnserializableStateError) -> set[str]:
    """Give the globals that an error asks to add."""
    return {name for _, why in error.offenders for name in MISSING.findall(why)}


def listed_for(flows: FlowFactory, value: object) -> set[str]:
    """Add the globals of each error to the list until the value is stored, and give the list."""
    allow = set[str]()
    for _ in range(9):
        try:
            LocalStateHandler(flows.path, allow=allow, fsync=False).write({"deep": [value]})
        except UnserializableStateError as error:
            allow |= missing_in(error)
        else:
            return allow
    raise AssertionError(allow)


@pytest.mark.parametrize("name", VALUES)
def test_what_is_not_listed_is_refused(name: str, runner: Runner, flows: FlowFactory) -> None:
    """A value with an unlisted global is refused. The error names its path and the global."""
    make, needed = VALUES[name]
    cp = flows.flow("a", allow=(), fsync=False)
    add_with(cp, "b", "step", lambda state: state.update(deep=[1, {"x": make()}], fine=[2]))
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {"n": 1})
    ((path, _),) = info.value.offenders
    assert path.startswith('state["deep"][1]["x"]')
    assert any(one.startswith(needed) for one in missing_in(info.value)), info.value
    assert info.value.step == "b"
    assert flows.stored()["trail"] == ["a"]


@pytest.mark.parametrize("name", VALUES)
def test_the_error_says_what_to_list(name: str, flows: FlowFactory) -> None:
    """A value whose globals are all listed is stored, and loads as without an allowlist."""
    value = VALUES[name][0]()
    allow = listed_for(flows, value)
    assert any(one.startswith(VALUES[name][1]) for one in allow)
    loaded = LocalStateHandler(flows.path, allow=allow).read()["deep"][0]
    freely = LocalStateHandler(flows.path).read()["deep"][0]
    assert type(loaded) is type(freely)
    if name != "array":  # an array has no truth value
        assert difference(value, loaded) is None
    assert np.array_equal(loaded, freely) or repr(loaded) == repr(freely)


@pytest.mark.parametrize("name", VALUES)
def test_the_reader_lists_the_same(name: str, flows: FlowFactory) -> None:
    """A snapshot stored without an allowlist is refused if any of its globals is not listed."""
    allow = listed_for(flows, VALUES[name][0]())
    for one in allow:
        with pytest.raises(UntrustedSnapshotError, match=re.escape(one)):
            LocalStateHandler(flows.path, allow=allow - {one}).read()


UNLISTABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "lambda": (lambda: lambda: 1, "<lambda>"),
    "local class": (lambda: type("Local", (), {}), "cannot be pickled"),
    "module": (lambda: re, "cannot be pickled"),
    "generator": (lambda: (one for one in "a"), "a running task"),
    "lock": (lambda: types.SimpleNamespace(x=__import__("threading").Lock()), "lock"),
}


@pytest.mark.parametrize("name", UNLISTABLE)
def test_code_is_refused_whatever_is_listed(name: str, runner: Runner, flows: FlowFactory) -> None:
    """A value that needs dill is refused under any allowlist, with its own message."""
    make, words = UNLISTABLE[name]
    listed = (f"{HERE}:Local", "types:SimpleNamespace", "re:compile", "builtins:getattr")
    cp = CheckpointFlow(flows.path, allow=listed, fsync=False)
    cp.add_step()(add_nothing)
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {"x": make()})
    ((path, why),) = info.value.offenders
    assert path.startswith('state["x"]')
    assert words in why
    assert flows.files() == {}


def add_nothing(state: dict[str, Any]) -> None:
    """Do nothing, as a step."""


def test_all_that_is_missing_is_named_at_once(flows: FlowFactory) -> None:
    """Each value with a missing global has a line in the error. Plain values have none."""
    handler = LocalStateHandler(flows.path, allow=["datetime:date"], fsync=False)
    given: dict[Any, Any] = {"a": 1j, "b": [dt.date(2024, 1, 1), len], "c": {"d": "text"}, 2j: 2}
    with pytest.raises(UnserializableStateError) as info:
        handler.write(given)
    assert [path for path, _ in info.value.offenders] == [
        *('state["a"]', 'state["b"][1]', "state.keys()[<complex>]"),
    ]
    assert missing_in(info.value) == {"builtins:complex", "builtins:len"}


def test_a_class_of_numbers_cannot_be_stored(flows: FlowFactory) -> None:
    """A listed global with a number of copyreg's would bypass the allowlist, so it is refused."""
    copyreg.add_extension("datetime", "date", 0x4D)
    try:
        with pytest.raises(UnserializableStateError, match="number of copyreg"):
            LocalStateHandler(flows.path, allow=["datetime:date"]).write({"a": dt.date(2024, 1, 1)})
    finally:
        copyreg.remove_extension("datetime", "date", 0x4D)
    assert flows.files() == {}


class Meta(type):
    """A metaclass whose classes cannot be hashed."""

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    def __eq__(cls, other: object) -> bool:
        return cls is other


class Unhashable(metaclass=Meta):
    """A class that cannot be hashed."""


def test_a_class_that_cannot_be_hashed(flows: FlowFactory) -> None:
    """A listed class is stored even if its metaclass does not support hashing."""
    handler = LocalStateHandler(flows.path, allow=[f"{HERE}:Unhashable"], fsync=False)
    handler.write({"a": Unhashable})
    assert handler.read()["a"] is Unhashable


def test_a_class_of_main(tmp_path: Path) -> None:
    """A class of the script itself is refused by name. Once listed, it loads."""
    command = [sys.executable, str(program("allowlist_script.py")), "c.pkl"]
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=False)
    refused = run(command)
    assert '"__main__:Own" is not among the globals of allow=' in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert run([*command, "__main__:Own"]).stdout == "5"
