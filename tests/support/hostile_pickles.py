"""Opcodes that change what is listed, or cost more than they weigh, and classes for them."""

from __future__ import annotations

import collections
import dataclasses
import enum
import pickle
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIME = (1 << 61) - 1
"""Integers that differ by a multiple of it have one hash."""


def text(value: str) -> bytes:
    """Give the opcode that pushes a short text."""
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def named(name: str) -> bytes:
    """Give the opcodes that push a global of this module."""
    return text(__name__) + text(name) + b"\x93"


def items(**values: bytes) -> bytes:
    """Give the opcodes that push a dict."""
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def dict_of(value: bytes) -> bytes:
    """Give the stream of a dict with one value, and the position that makes it a checkpoint."""
    return b"\x80\x05}" + text("checkpoint_index") + b"K\0s" + text("k") + value + b"s."


def large(number: int) -> bytes:
    """Give the opcode that pushes an integer with the hash 0."""
    return b"\x8a\x0a" + (number * PRIME).to_bytes(10, "little")


# --- what a program lists


class Order:
    """A listed class."""

    price = 100
    is_admin = False


class Slotted:
    """A listed class with slots."""

    __slots__ = ("a",)

    def __init__(self, a: int = 0) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and other.a == self.a

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


class Borg:
    """A class whose instances share their attributes."""

    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.__dict__ = Borg.shared


class Single:
    """A class with one instance."""

    one: Any = None

    def __new__(cls) -> Self:
        """Give the one instance."""
        if cls.one is None:
            cls.one = super().__new__(cls)
        return cls.one  # type: ignore[no-any-return]


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Settings:
    """A class with an instance that the program uses."""

    def __init__(self) -> None:
        self.debug = False


class Registered(dict[str, int]):
    """A dict with an instance that a function gives."""


SETTINGS = Settings()
LIMITS = {"a": 1}
ITEMS = [1]
SHARED = Registered(a=1)
Single()


def make(rate: str = "good") -> str:
    """A listed function."""
    return rate


def shared_settings() -> Settings:
    """Give an object that the program holds."""
    return SETTINGS


def shared_dict() -> dict[str, int]:
    """Give a dict that the program holds."""
    return LIMITS


def shared_list() -> list[int]:
    """Give a list that the program holds."""
    return ITEMS


def fresh_order() -> Order:
    """Give a new object."""
    return Order()


def listed_as_they_were() -> list[object]:
    """Give all that must not change."""
    found = [Order, Slotted, Borg, Single, Colour, Settings, make, shared_settings, fresh_order]
    return [
        *({**vars(one)} for one in found),
        make.__defaults__,
        vars(SETTINGS).copy(),
        vars(Colour.RED).copy(),
        vars(Single.one).copy(),
        Borg.shared.copy(),
        LIMITS.copy(),
        ITEMS.copy(),
        SHARED.copy(),
    ]


_ADMIN = items(is_admin=b"\x88")
_SLOTS = b"N" + _ADMIN + b"\x86"
_CALL = b")R"

CHANGES: dict[str, bytes] = {
    "slots of a class": named("Order") + _SLOTS + b"b",
    "attributes of a class": named("Order") + _ADMIN + b"b",
    "defaults of a function": named("make")
    + (b"N" + items(__defaults__=text("evil") + b"\x85") + b"\x86b"),
    "attributes of a function": named("make") + _ADMIN + b"b",
    "class from the memo": named("Order") + b"\x940h\x00" + _SLOTS + b"b",
    "class put twice": named("Order") + b"2" + _SLOTS + b"b0",
    "class by PUT and GET": named("Order") + b"q\x070h\x07" + _SLOTS + b"b",
    "global instance": named("SETTINGS") + items(debug=b"\x88") + b"b",
    "global dict, one item": named("LIMITS") + text("a") + b"K\x02s",
    "global dict, items": named("LIMITS") + b"(" + text("a") + b"K\x02u",
    "global list, one": named("ITEMS") + b"K\x02a",
    "global list": named("ITEMS") + b"(K\x02e",
    "global list, set items": named("ITEMS") + b"K\x00K\x02s",
    "global dict through a chain": (
        text("collections") + text("ChainMap") + b"\x93" + named("LIMITS") + b"\x85R"
    )
    + (text("a") + b"K\x02s"),
    "shared instance of a function": named("shared_settings") + _CALL + items(debug=b"\x88") + b"b",
    "shared dict of a function": named("shared_dict") + _CALL + text("a") + b"K\x02s",
    "shared dict, items": named("shared_dict") + _CALL + b"(" + text("a") + b"K\x02u",
    "shared list of a function": named("shared_list") + _CALL + b"K\x02a",
    "shared list, more": named("shared_list") + _CALL + b"(K\x02e",
    "shared list as a set": named("shared_list") + _CALL + b"(K\x02\x90",
    "single instance": named("Single") + b")\x81" + _ADMIN + b"b",
    "single instance called": named("Single") + _CALL + _ADMIN + b"b",
    "shared attributes": named("Borg") + _CALL + _ADMIN + b"b",
    "member of an enum": named("Colour") + b"K\x01\x85R" + _ADMIN + b"b",
    "member by NEWOBJ": named("Colour") + b"K\x01\x85\x81" + _ADMIN + b"b",
    "member by getattr": (text("builtins") + text("getattr") + b"\x93" + named("Colour"))
    + (text("RED") + b"\x86R" + _ADMIN + b"b"),
    "class of an instance": (text("builtins") + text("type") + b"\x93" + named("Order"))
    + (b")\x81\x85R" + _SLOTS + b"b"),
    "class by getattr": (text("builtins") + text("getattr") + b"\x93" + named("Order"))
    + (b")\x81" + text("__class__") + b"\x86R" + _SLOTS + b"b"),
    "method of a listed function": (text("types") + text("MethodType") + b"\x93" + named("make"))
    + (named("Order") + b")\x81\x86R" + _ADMIN + b"b"),
    "attributes replaced by shared ones": named("Order")
    + (b")\x81N" + items(__dict__=named("shared_dict") + _CALL) + b"\x86b")
    + (items(a=b"K\x02") + b"b"),
    "the same by escapes": named("Order")
    + (b")\x81N}V\\u005f_dict__\n" + named("shared_dict") + _CALL + b"s\x86b")
    + (items(a=b"K\x02") + b"b"),
    "alias of a listed function": text("types")
    + text("GenericAlias")
    + b"\x93"
    + named("make")
    + (b")\x86R" + _ADMIN + b"b"),
    "INST": b"(i" + __name__.encode() + b"\nshared_settings\n" + items(debug=b"\x88") + b"b",
    "OBJ": b"(" + named("shared_settings") + b"o" + items(debug=b"\x88") + b"b",
    "partial": (text("functools") + text("partial") + b"\x93" + named("shared_settings"))
    + (b"\x85R)R" + items(debug=b"\x88") + b"b"),
}
LISTED = (
    *(f"{__name__}:{name}" for name in ("Order", "make", "SETTINGS", "LIMITS", "ITEMS", "Single")),
    *(f"{__name__}:{name}" for name in ("shared_settings", "shared_dict", "shared_list", "Borg")),
    *(f"{__name__}:Colour", "builtins:type", "builtins:getattr", "types:MethodType"),
    *("collections:ChainMap", "functools:partial", "types:GenericAlias"),
)
"""A list that is as careless as can be."""


# --- what costs more than it weighs


def _deep(levels: int) -> bytes:
    return b"N" + b"\x85" * levels


def _shared_pairs(levels: int) -> bytes:
    return b"N\x85" + b"2\x86" * levels


def _keys(count: int, ending: bytes = b"N") -> Iterator[bytes]:
    return (large(number) + ending for number in range(1, count))


def _long(opcode: bytes, length: int) -> bytes:
    return opcode + length.to_bytes(4, "little") + b"x" * length


COSTLY: dict[str, bytes] = {
    "deep tuple": _deep(20_000),
    "deep key": b"}" + _deep(300_000) + b"Ns",
    "deep member": b"\x8f(" + _deep(20_000) + b"\x90",
    "deep lists": b"]" * 10_000 + b"a" * 9_999,
    "shared pairs as a key": b"}" + _shared_pairs(60) + b"Ns",
    "shared pairs as a member": b"(" + _shared_pairs(60) + b"\x91",
    "one hash": b"}(" + b"".join(_keys(12_000)) + b"u",
    "one hash, one by one": b"}" + b"".join(_keys(12_000, b"Ns")),
    "one hash in a set": b"\x8f(" + b"".join(_keys(12_000, b"")) + b"\x90",
    "one hash in a frozenset": b"(" + b"".join(_keys(12_000, b"")) + b"\x91",
    "one hash in tuples": b"}(" + b"".join(_keys(12_000, b"\x85N")) + b"u",
    "one hash in frozensets": b"}("
    + b"".join(b"(" + one for one in _keys(12_000, b"\x91N"))
    + b"u",
    "long texts as one key": b"}%b\x940%b\x940(" % ((_long(b"X", 1 << 19),) * 2)
    + b"h\x00Nh\x01N" * 40_000
    + b"u",
    "large number as a key": b"}" + _long(b"\x8b", 1 << 19) + b"\x940(" + b"h\x00N" * 40_000 + b"u",
    "decimals": b"L" + b"9" * 100_000 + b"L\n",
    "memo of 2^31": b"Nr\xff\xff\xff\x7f",
    "memo of 2^31 in decimal": b"Np2147483647\n",
    "frame of 2^63": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7fN",
    "marks": b"(" * 100_000,
}

FLOODS: dict[str, bytes] = {
    "None": b"N",
    "list": b"]",
    "mark": b"(",
    "again": b"2",
    "tuple of one": b"N\x85",
    "tuple of two": b"NN\x86",
    "empty tuple": b"(t",
    "memo": b"\x94",
    "list in the memo": b"]\x94",
    "text": b"\x8c\x00",
    "frozenset": b"(N\x91",
    "item": b"K\x01N",
}
"""Opcodes to be repeated a million times behind a None and a mark."""


def flood(name: str, count: int) -> bytes:
    """Give a stream of one opcode, repeated."""
    return b"\x80\x04}N(" + FLOODS[name] * count + b"."


# --- states that are loaded as ever


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen dataclass with slots."""

    x: int


class Pair(tuple[int, int]):  # noqa: SLOT001 - it has attributes
    """A tuple with attributes."""


Row = collections.namedtuple("Row", ["a", "b"])  # noqa: PYI024 - as untyped programs have it


class Stateful:
    """A class with __setstate__."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __getstate__(self) -> tuple[int]:
        return (self.x,)

    def __setstate__(self, state: tuple[int]) -> None:
        self.x = state[0] + 1 - 1


class Reduced:
    """A class with __reduce__, whose function is followed by a state."""

    def __init__(self) -> None:
        self.more = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return make_reduced, (), {"more": self.more}


def make_reduced() -> Reduced:
    """Give a new instance."""
    return Reduced()


class Problem(Exception):  # noqa: N818 - a name that users choose
    """An exception with an __init__ of its own and attributes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.extra = [message]


class OwnList(list[int]):
    """A list with attributes."""


def _own_list() -> OwnList:
    made = OwnList([1, 2])
    made.extra = 5  # type: ignore[attr-defined]
    return made


def _cycle() -> Point:
    one = Point(1)
    one.y = Point(2, one)
    return one


OBJECTS: dict[str, Any] = {
    "dataclass": Point(1, [Point(2)]),
    "frozen with slots": Frozen(3),
    "named tuple": Row(1, 2),
    "tuple with attributes": Pair((1, 2)),
    "slots": Slotted(5),
    "setstate": Stateful(7),
    "reduced by a function": Reduced(),
    "exception": Problem("a"),
    "list with attributes": _own_list(),
    "ordered dict": collections.OrderedDict(a=1, b=2),
    "default dict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], 5),
    "enum": Colour.RED,
    "cycle": _cycle(),
}


def dumped(value: object) -> bytes:
    """Give the stream of a value, whatever it is."""
    return pickle.dumps(value, 5)
