"""Functions and classes that cannot be imported by name, and so are pickled as code."""

from __future__ import annotations

import collections
import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Frozen:
    """A dataclass with a class method, whose name leads to the method instead of the function."""

    number: int = 0

    @classmethod
    def of(cls) -> Frozen:
        """Be a class method."""
        return cls(2)

    def more(self) -> Frozen:
        """Be a method."""
        return Frozen(self.number + 1)


def two(one: object, other: object = 2) -> tuple[object, object]:
    """Be a function of a module."""
    return one, other


@functools.lru_cache(maxsize=5)
def cached(number: int) -> int:
    """Be hidden by a decorator."""
    return number + 1


def with_attributes(obj: Any) -> Any:  # noqa: ANN401
    """Give an object attributes, one of them itself."""
    obj.note = ["a note"]
    obj.itself = obj
    return obj


def make_closures() -> list[Callable[..., Any]]:
    """Make two functions that share a cell."""
    count = 0

    def add() -> int:
        nonlocal count
        count += 1
        return count

    return [add, lambda: count]


def make_recursive() -> Callable[[int], int]:
    """Make a function whose closure holds the function itself."""

    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    return factorial


def make_class() -> type[Any]:
    """Make a class whose method returns an instance of it."""

    class Local:
        """A local class."""

        made = 0

        def another(self) -> Local:
            """Make another."""
            return Local()

        @property
        def text(self) -> str:
            """Be a property."""
            return "a text"

        @classmethod
        def of(cls) -> Local:
            """Be a class method."""
            return cls()

    return Local


def make_class_and_function() -> type[Any]:
    """Make a class that holds a function that holds the class."""

    class Holder:
        """A local class."""

    Holder.make = lambda: Holder()  # type: ignore[attr-defined] # noqa: PLW0108
    return Holder


def make_metaclass() -> type[Any]:
    """Make a class of a local metaclass."""

    class Meta(type):
        def shout(cls) -> str:
            return cls.__name__.upper()

    return Meta("Made", (), {"a": 1})


def make_dataclass() -> object:
    """Make an instance of a local dataclass."""

    @dataclass
    class Local:
        a: int
        b: str = "b"

    return Local(1)


def make_enum_member() -> object:
    """Make a member of an enum by its functional API."""
    made: Any = enum.Enum("made", ["ONE", "TWO"])
    return made.ONE


def make_wrapped() -> Callable[..., Any]:
    """Decorate a function, so that its name gives the wrapper."""

    def count(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: object) -> Any:  # noqa: ANN401
            return function(*args), "counted"

        return wrapper

    return count(two)


CODE: dict[str, Callable[[], Any]] = {
    "lambda": lambda: lambda a, b=2, *, c=3: (a, b, c),
    "closures that share a cell": make_closures,
    "recursive function": make_recursive,
    "local class": make_class,
    "instance of a local class": lambda: make_class()(),  # noqa: PLW0108
    "bound method of a local class": lambda: make_class()().another,
    "class and function that hold each other": make_class_and_function,
    "class of a local metaclass": make_metaclass,
    "local dataclass": make_dataclass,
    "decorated": make_wrapped,
    "what a decorator took": lambda: cached.__wrapped__,
    "partial of a lambda": lambda: functools.partial(lambda a, b: (a, b), 1),
    "code object": lambda: make_recursive().__code__,
    "static method": lambda: staticmethod(lambda: 1),
    "class with base": lambda: type("Local", (Frozen,), {"more": 1}),
    "list subclass": lambda: type("Local", (list,), {})([1, 2]),
    "dict subclass with attributes": lambda: with_attributes(type("Local", (dict,), {})(a=1)),
    "exception class": lambda: type("LocalError", (Exception,), {})("text"),
    "generator function": lambda: lambda: (yield),
    "default factory": lambda: collections.defaultdict(lambda: 0, a=1),
}
