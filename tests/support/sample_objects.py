"""One of everything that a state may hold, importable, so that pickle finds the classes by name."""

from __future__ import annotations

import array
import collections
import copyreg
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import json
import math
import operator
import pathlib
import random
import re
import string
import types
import typing
import uuid
import zoneinfo
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

T = TypeVar("T")

Point = collections.namedtuple("Point", ["x", "y"])  # noqa: PYI024 - the untyped kind is meant


class Pair(NamedTuple):
    """A typed named tuple with a default."""

    left: object
    right: object = None


class OwnDict(dict[Any, Any]):
    """A dict that can have attributes."""


class OwnOrdered(collections.OrderedDict[Any, Any]):
    """An ordered dict that can have attributes."""


class OwnList(list[Any]):
    """A list that can have attributes."""


class OwnSet(set[Any]):
    """A set that can have attributes."""


class OwnTuple(tuple[Any, ...]):  # noqa: SLOT001 - it is there to have attributes
    """A tuple that can have attributes."""


class OwnInt(int):
    """A number that can have attributes."""


class OwnStr(str):  # noqa: SLOT000 - it is there to have attributes
    """A text that can have attributes."""


class Colour(enum.Enum):
    """An enum with an alias."""

    RED = 1
    ALSO_RED = 1  # noqa: PIE796 - an alias
    BLUE = "blue"


class Rights(enum.Flag):
    """A flag, whose combinations are members too."""

    READ = enum.auto()
    WRITE = enum.auto()


@dataclass
class Node:
    """A node of a graph."""

    name: object = None
    links: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True, order=True)
class Frozen:
    """A frozen dataclass."""

    number: object = 0


@dataclass(slots=True)
class Slotted:
    """A dataclass without a `__dict__`."""

    one: object
    other: object = None


class Slots:
    """Slots by hand, one of them never set."""

    __slots__ = ("filled", "unset")

    def __init__(self, filled: object) -> None:
        self.filled = filled


class SlotsAndDict(Slots):
    """Slots and a `__dict__`."""

    def __init__(self, filled: object, free: object) -> None:
        super().__init__(filled)
        self.free = free


class WithState:
    """Leaves out a part and makes it anew."""

    def __init__(self, kept: object) -> None:
        self.kept = kept
        self.cache = "made"

    def __getstate__(self) -> dict[str, object]:
        return {"kept": self.kept}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, cache="made anew")


class WithReduce:
    """Says by which call it is made."""

    def __init__(self, *args: object) -> None:
        self.args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return WithReduce, self.args


class WithReduceEx:
    """Says it in the newer way, with items and a state setter."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def append(self, item: object) -> None:
        """Take an item from the unpickler."""
        self.items.append(item)

    def __reduce_ex__(self, protocol: typing.SupportsIndex) -> tuple[Any, ...]:
        return WithReduceEx, (), None, iter(self.items)


class WithNew:
    """Is made by `__new__` with arguments by name."""

    number: int

    def __new__(cls, *, number: int) -> typing.Self:
        """Make one."""
        self = super().__new__(cls)
        self.number = number
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"number": self.number}


class Registered:
    """Is pickled by a function registered with copyreg."""

    def __init__(self, value: object) -> None:
        self.value = value


def _reduce_registered(obj: Registered) -> tuple[Any, ...]:
    return Registered, (obj.value,)


copyreg.pickle(Registered, _reduce_registered)


class Meta(type):
    """A metaclass."""


class OfMeta(metaclass=Meta):
    """A class of a metaclass."""

    count: ClassVar[int] = 0


class Box(Generic[T]):
    """A generic class."""


class OwnError(Exception):
    """An exception with an attribute."""

    def __init__(self, text: str, code: int = 3) -> None:
        super().__init__(text)
        self.code = code


class Outer:
    """Holds another class and methods of every kind."""

    class Inner:
        """A nested class."""

    def method(self) -> None:
        """Be a method."""

    @classmethod
    def of_class(cls) -> None:
        """Be a class method."""

    @staticmethod
    def of_none() -> None:
        """Be a static method."""


class Singleton:
    """Is pickled by its name."""

    def __reduce__(self) -> str:
        return "SINGLETON"


SINGLETON = Singleton()


def function(one: object, other: object = 2) -> tuple[object, object]:
    """Be a function of a module."""
    return one, other


cached = functools.lru_cache(maxsize=5)(function)


def with_attributes(obj: Any) -> Any:  # noqa: ANN401
    """Give an object attributes, one of them itself."""
    obj.note = ["a note"]
    obj.itself = obj
    return obj


def advanced(iterator: typing.Iterator[Any]) -> typing.Iterator[Any]:
    """Take the first item off an iterator."""
    next(iterator)
    return iterator


ZONE = dt.timezone(dt.timedelta(hours=5, minutes=45), "home")
MOMENT = dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=ZONE)

PLAIN: dict[str, Any] = {
    "none and truth": (None, True, False),
    "numbers": [0, -1, 2**70, 1.5, float("nan"), float("-inf"), -0.0, 1j, 255, 256, 65536],
    "texts": ["", "ä€😀", "a" * 300, "\ud800", b"", b"b" * 300, bytearray(b"changeable")],
    "empties": [[], {}, (), set(), frozenset(), ""],
    "nested": {"a": [1, {"b": (2, {3}, frozenset({4}))}], (1, 2): {None: [[]]}},
    "many items": [{str(n): n for n in range(3000)}, list(range(3000)), set(range(3000))],
    "dicts": [
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abca"),
        collections.ChainMap({"a": 1}, {"b": 2}),
        collections.UserDict(a=1),
    ],
    "deque": collections.deque([1, 2, 3], maxlen=3),
    "own dict": with_attributes(OwnDict(a=1)),
    "own ordered dict": with_attributes(OwnOrdered(a=1)),
    "own list": with_attributes(OwnList([1])),
    "own set": with_attributes(OwnSet({1})),
    "own tuple": with_attributes(OwnTuple((1, 2))),
    "own number": with_attributes(OwnInt(7)),
    "own text": with_attributes(OwnStr("seven")),
    "named tuples": [Point(1, [2]), Pair(1), Pair(left=[1], right=2)],
    "enums": [
        Colour.RED,
        Colour.ALSO_RED,
        Colour.BLUE,
        Rights.READ | Rights.WRITE,
        re.IGNORECASE | re.MULTILINE,
    ],
    "dataclasses": [Node("a", [Node("b")]), Frozen(1), Slotted(1, [2])],
    "slots": [Slots([1]), SlotsAndDict([1], "free")],
    "own ways to pickle": [
        WithState([1]),
        WithReduce(1, [2]),
        WithReduceEx(),
        WithNew(number=4),
        Registered([1]),
        SINGLETON,
    ],
    "times": [MOMENT, MOMENT.date(), MOMENT.timetz(), dt.timedelta(1, 2, 3), ZONE, dt.UTC],
    "zone": MOMENT.astimezone(zoneinfo.ZoneInfo("UTC")),
    "exact numbers": [decimal.Decimal("1.10"), decimal.Decimal("NaN"), fractions.Fraction(1, 3)],
    "uuid": uuid.UUID(int=5),
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.Path("a"), pathlib.PureWindowsPath("c:/a")],
    "addresses": [ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")],
    "patterns": [re.compile(r"a(b)?", re.IGNORECASE), re.compile(rb"\d")],
    "arrays": [array.array("d", [1.5]), array.array("i", [1])],
    "buffers": [io.BytesIO(b"abc"), io.StringIO("abc")],
    "iterators": [
        advanced(iter([1, 2])),
        advanced(reversed([1, 2])),
        enumerate("a"),
    ],
    "operators": [
        operator.itemgetter(1, 2),
        operator.attrgetter("a.b"),
        operator.methodcaller("f"),
    ],
    "random": random.Random(1),  # noqa: S311 - no secret
    "namespace": types.SimpleNamespace(a=[1]),
    "template": string.Template("$a"),
    "exceptions": [ValueError("a", 1), OwnError("text", 4), OSError(2, "none", "file"), KeyError()],
    "classes": [int, Node, OfMeta, Outer, Outer.Inner, OwnError, collections.OrderedDict, Box],
    "functions": [len, math.sin, json.dumps, function, with_attributes, "a".upper, [1].append],
    "partials": functools.partial(function, 1, other=[2]),
    "aliases": [list[int], dict[str, list[int]], int | str],
    "ranges and slices": [range(1, 9, 3), slice(1, None, 2), ..., NotImplemented],
}
"""What the C pickler writes as dill does."""

REACH: dict[str, Any] = {
    "kinds of singletons": [type(None), type(...), type(NotImplemented), int | None],
    "kinds of the interpreter": [types.FunctionType, types.CellType, type({}.keys())],
    "modules": [json, math, string],
    "typing": [typing.List[int], typing.Optional[int], Box[int], typing.Any],  # noqa: UP006, UP045
    "bound methods": [Outer().method, Node("a", [Outer()]).links.append],
    "method descriptors": [str.upper, list.append, int.__add__, dt.datetime.year],
    "views": [{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()],
    "proxy": types.MappingProxyType({"a": [1]}),
    "properties": [property(function), staticmethod(function), classmethod(function)],
    "super": super(OwnError, OwnError("a")),
    "cached": cached,
    "cell": types.CellType([1]),
    "a module's names": vars(math),
}
"""What only dill writes in this way, though no code is in it."""
