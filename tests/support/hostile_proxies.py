"""Classes that stand for a shared object, and streams that would change it through them."""

from __future__ import annotations

from typing import Any

from hostile_pickles import dict_of, items, text


class Shared:
    """A class with an instance that the program uses."""

    def __init__(self) -> None:
        self.admin = False
        self.items = list[int]()

    def append(self, item: int) -> None:
        """Add an item."""
        self.items.append(item)

    def extend(self, more: list[int]) -> None:
        """Add items."""
        self.items.extend(more)

    add = append


class SharedWithState(Shared):
    """The same with a `__setstate__`."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


SHARED = Shared()
WITH_STATE = SharedWithState()


class Proxy:
    """Stands for the shared object."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(SHARED, name)


class ProxyOfState:
    """Stands for the shared object that has a `__setstate__`."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(WITH_STATE, name)


class Whole:
    """Stands for the shared object in all attributes."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(SHARED, name)


class Lazy:
    """The same with slots."""

    __slots__ = ("_made",)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(SHARED, name)


class Property:
    """A class whose `__dict__` is a property."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return vars(SHARED)


class Started(Property):
    """The same with an `__init__`."""

    def __init__(self) -> None:
        """Do nothing."""


class Setting:
    """A class that sets the attributes of the shared object."""

    def __setattr__(self, name: str, value: object) -> None:
        setattr(SHARED, name, value)


class Plain:
    """A usual class."""


class Other:
    """A class that no instance has unless it is made."""


class Problem(Exception):  # noqa: N818
    """A usual exception."""


class OtherProblem(Exception):  # noqa: N818
    """An exception that none is unless it is made."""


class Hiding(dict[str, Any]):
    """A dict that hides its keys."""

    def keys(self) -> Any:  # noqa: ANN401
        """Give none of them."""
        return {}.keys()

    def __iter__(self) -> Any:  # noqa: ANN401
        return iter(())


class Name(str):
    """A text that equals no other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


def shared_as_it_was() -> list[Any]:
    """Give all that must not change."""
    return [one.admin for one in (SHARED, WITH_STATE)] + [*SHARED.items, *WITH_STATE.items]


def _named(name: str, module: str = __name__) -> bytes:
    return text(module) + text(name) + b"\x93"


_ADMIN = items(admin=b"\x88")
_SLOTS = b"N" + _ADMIN + b"\x86"
_HOW = {"NEWOBJ": b")\x81", "REDUCE": b")R"}
_LIKE_DICTS = {"MappingProxyType": "types", "UserDict": "collections", "ChainMap": "collections"}


def _odd_slots(maker: bytes, name: str, value: bytes) -> bytes:
    """Give an object whose slots are what a class makes of a dict."""
    slots = maker + items(**{name: value}) + b"\x85R"
    return _named("Plain") + b")\x81N" + slots + b"\x86b"


THROUGH: dict[str, bytes] = {
    **{
        f"{name} by {how}": _named(name) + opcodes + _ADMIN + b"b"
        for name in ("Proxy", "ProxyOfState", "Whole", "Lazy", "Property", "Started")
        for how, opcodes in _HOW.items()
    },
    **{
        f"slots of {name} by {how}": _named(name) + opcodes + _SLOTS + b"b"
        for name in ("Whole", "Setting")
        for how, opcodes in _HOW.items()
    },
    **{
        f"{name} by {opcode!r}": _named(name) + b")\x81" + begin + b"K\x07" + opcode
        for name in ("Proxy", "Lazy", "Whole")
        for begin, opcode in ((b"", b"a"), (b"(", b"e"), (b"(", b"\x90"))
    },
    **{
        f"{name} by a {kind}": _odd_slots(_named(kind, module), name, value)
        for kind, module in {**_LIKE_DICTS, "Hiding": __name__}.items()
        for name, value in (("__class__", _named("Other")), ("__dict__", b"}"))
    },
    "name that equals none": _named("Plain")
    + (b")\x81N}" + _named("Name") + text("__class__") + b"\x85R" + _named("Other") + b"s\x86b"),
    "class of an exception": _named("Problem")
    + (b")\x81" + items(__class__=_named("OtherProblem")) + b"b"),
}
"""Streams that would change a shared object, or the class of an instance."""
LISTED = (
    *(f"{__name__}:{name}" for name in ("Proxy", "ProxyOfState", "Whole", "Lazy", "Property")),
    *(f"{__name__}:{name}" for name in ("Started", "Setting", "Plain", "Other", "Hiding", "Name")),
    *(f"{__name__}:{name}" for name in ("Problem", "OtherProblem")),
    *(f"{module}:{name}" for name, module in _LIKE_DICTS.items()),
)


def stream(name: str) -> bytes:
    """Give one of the streams, as a snapshot."""
    return dict_of(THROUGH[name])
