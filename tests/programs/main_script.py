"""A script whose own classes and functions are in the state; run by test_serializer_main.py.

    python main_script.py write DIRECTORY   stores every case, by the library and by plain dill
    python main_script.py read DIRECTORY    loads them again and prints the loaded values
    python main_script.py flow DIRECTORY    runs a flow whose state holds such things

"write enum" and "read enum" are for the cases that only dill can store.

Reading works from any other program as well, which imports the script as a module: a flow whose
steps are defined there finds the names of the script.
"""

from __future__ import annotations

import asyncio
import collections
import copyreg
import enum
import functools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import dill  # type: ignore[import-untyped]
import pydantic

from aiocheckpoint import CheckpointFlow, LocalStateHandler

GLOBAL = "a global"


class Thing:
    """A class with a method that makes another of it."""

    made = 0

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def of(cls) -> Thing:
        """Make one."""
        return cls("of")

    def more(self) -> Thing:
        """Make another."""
        return type(self)(self.name + "+")


class Child(Thing):
    """Calls its base."""

    def __init__(self, name: str) -> None:
        super().__init__(name.upper())


class Slotted:
    """Has no `__dict__`."""

    __slots__ = ("one",)

    def __init__(self, one: object) -> None:
        self.one = one


class Holder:
    """Holds a class."""

    class Inner:
        """A class within a class."""

        where = "inside"


class Base:
    """Knows its subclasses by a name that each may have once."""

    known: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        if cls.__name__ in Base.known:
            raise TypeError(cls.__name__)
        Base.known.append(cls.__name__)


class Registered(Base):
    """Is registered by its base."""

    number = 1


class Model(pydantic.BaseModel):
    """A model whose class refers to itself in many ways."""

    number: int


@dataclass
class Record:
    """A dataclass with a factory."""

    name: str
    rows: list[int] = field(default_factory=list[int])


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: int = 2


class Meta(type):
    """A metaclass."""

    def shout(cls) -> str:
        """Say the name of a class loudly."""
        return cls.__name__.upper()


class Loud(metaclass=Meta):
    """A class of a metaclass."""


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Job:
    """Holds an enum, as many classes do."""

    class Status(enum.Enum):
        """An enum within a class."""

        DONE = "done"

    status = Status.DONE


class Reduced:
    """Is made by a function of this script."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return make_reduced, (self.value,)


def make_reduced(value: int) -> Reduced:
    """Make one."""
    return Reduced(value + 1)


class ByCopyreg:
    """Is registered with copyreg."""

    value = 1


copyreg.pickle(ByCopyreg, lambda obj: (ByCopyreg, (), {"value": obj.value + 1}))


class ByDill:
    """Is registered with dill."""


@dill.register(ByDill)  # type: ignore[untyped-decorator]
def save_by_dill(pickler: Any, obj: object) -> None:  # noqa: ANN401
    """Write a text in place of the object."""
    pickler.save_reduce(str, ("registered",), obj=obj)


class OwnDict(dict[str, Any]):
    """A kind of dict."""


class OwnError(Exception):
    """An exception of the script."""


def count(function: Any) -> Any:  # noqa: ANN401
    """Decorate a function."""

    @functools.wraps(function)
    def wrapper(*args: object) -> tuple[object, int]:
        wrapper.calls += 1  # type: ignore[attr-defined]
        return function(*args), wrapper.calls  # type: ignore[attr-defined]

    wrapper.calls = 0  # type: ignore[attr-defined]
    return wrapper


@count
def counted(a: int) -> int:
    """Be decorated."""
    return a + 1


@functools.lru_cache(maxsize=3)
def cached(a: int) -> int:
    """Be cached."""
    return a + 2


def double(a: int, *, by: int = 2) -> int:
    """Be a plain function."""
    return a * by


def read_global() -> str:
    """Need a name of the script."""
    return GLOBAL


def make_shared() -> list[Any]:
    """Make two functions and a list in one cell."""
    kept: list[int] = []
    return [kept.append, lambda: kept, kept]


CASES: dict[str, tuple[Any, str]] = {
    "plain": ({"a": [1, (2, {3})]}, "v"),
    "function": (double, "(v(3), v(3, by=5), v.__name__)"),
    "lambda": (lambda a: a + 1, "v(1)"),
    "class": (Thing, "(v('a').more().name, v.__qualname__)"),
    "instance": (Thing("a"), "(v.name, v.more().name)"),
    "child": (Child("a"), "(v.name, type(v).__mro__[1].__name__)"),
    "shared instance": ([Thing("a")] * 2, "v[0] is v[1]"),
    "class and instance": ([Thing, Thing("a")], "type(v[1]) is v[0]"),
    "slots": (Slotted([1]), "(v.one, hasattr(v, '__dict__'))"),
    "dataclass": (Record("a", [1]), "(repr(v), v == type(v)('a', [1]))"),
    "named tuple": (Pair(1), "(v, v.right, type(v).__name__)"),
    "metaclass": (Loud, "(v.shout(), type(v).__name__)"),
    "copyreg": (ByCopyreg(), "v.value"),
    "dill.register": ([ByDill()], "v"),
    "dict subclass": (OwnDict(a=1), "(type(v).__name__, dict(v))"),
    "exception": (OwnError("a", 1), "(type(v).__name__, v.args)"),
    "partial": (functools.partial(double, 4), "v()"),
    "bound method": (Thing("a").more, "v().name"),
    "decorated": (counted, "(v(1)[0], v.__wrapped__(1), v.__name__)"),
    "cached": (cached, "(v(1), v.cache_info().maxsize)"),
    "class method": (Thing.of, "v().name"),
    "nested class": ([Holder.Inner, Holder.Inner()], "(v[1].where, type(v[1]) is v[0])"),
    "registry": (Registered(), "(v.number, type(v).known)"),
    "pydantic": (Model(number=1), "(v.number, type(v).__name__)"),
    "enum": ([Colour.RED, Job.Status.DONE], "v[0] is type(v[0]).RED"),
    "shared cell": (make_shared(), "(v[0](1), v[1]() is v[2], v[2])"),
    "default factory": (collections.defaultdict(lambda: [0]), "(v['new'], dict(v))"),
    "module": (json, "v.dumps([1])"),
}
"""By name: the value stored as `v`, and the question about it."""

IN_THE_SAME_SCRIPT = {
    "global": (read_global, "v()"),
    "reduce": (Reduced(1), "v.value, 'a global'"),
    "the script's own names": (globals(), "v['GLOBAL'], type(v)"),
    "identity of a class": (Thing("a"), "(isinstance(v, Thing), type(v) is Thing)"),
}


NOT_BY_DILL = {"registry", "pydantic", "enum"}
"""Cases that dill cannot store, or only with a warning."""


def _write_by_dill(path: Path, value: object) -> list[str]:
    if path.stem in NOT_BY_DILL:
        return []
    with path.open("wb") as file:
        dill.dump({"v": value, "again": value}, file)
    return [str(path)]


def write(place: Path, cases: dict[str, tuple[Any, str]]) -> None:
    """Store every case twice, and write the questions and answers of the reader."""
    handler = LocalStateHandler(place / "ours.pkl", fsync=False)
    expected = dict[str, Any]()
    for name, (value, question) in cases.items():
        handler.write({"v": value, "again": value}, run_id=name)
        header = handler.header(name)
        code = header is not None and header.code
        expected[name] = {"question": question, "file": handler.locate(name), "code": code}
        expected[name]["dill"] = _write_by_dill(place / f"{name}.dill", value)
    for name, (value, question) in cases.items():  # the questions may change the values
        if name not in IN_THE_SAME_SCRIPT:
            expected[name]["answer"] = repr(eval(question, {"v": value}))  # noqa: S307
    (place / "expected.json").write_text(json.dumps(expected))


def fill(state: dict[str, Any]) -> None:
    """Be a step of this script."""
    state["filled"] = True


def read(place: Path, names: dict[str, Any]) -> dict[str, list[str]]:
    """Load every case, by a flow and by dill, and give the answers."""
    cp = CheckpointFlow(place / "ours.pkl", fsync=False)
    cp.add_step()(fill)
    answers = dict[str, list[str]]()
    for name, case in json.loads((place / "expected.json").read_text()).items():
        states = [cp.read(name)]
        if __name__ == "__main__":
            for path in (case["file"], *case["dill"]):
                with open(path, "rb") as file:  # noqa: PTH123
                    states.append(dill.load(file))
        answers[name] = [
            repr((eval(case["question"], {**names, "v": s["v"]}), s["again"] is s["v"]))  # noqa: S307
            for s in states
        ]
    return answers


def flow(place: Path) -> None:
    """Run a flow that breaks in its second step unless there is a file that mends it."""
    cp = CheckpointFlow(place / "flow.pkl", fsync=False)

    @cp.add_step()
    def fill(state: dict[str, Any]) -> None:
        state.update({name: value for name, (value, _) in CASES.items() if name != "module"})
        state["own"] = state

    @cp.add_step()
    async def use(state: dict[str, Any]) -> None:
        if not (place / "mended").exists():
            raise OwnError
        state["used"] = [state["instance"].more().name, state["function"](4), state["lambda"](5)]
        state["same"] = state["own"] is state

    state = asyncio.run(cp.arun())
    print(json.dumps([state["used"], state["same"]]))  # noqa: T201


def main() -> None:
    """Carry out the command line."""
    word, place = sys.argv[1], Path(sys.argv[2])
    if word == "write":
        write(place, CASES | IN_THE_SAME_SCRIPT)
    elif word == "read":
        print(json.dumps(read(place, globals())))  # noqa: T201
    elif word == "flow":
        flow(place)
    elif word == "write enum":
        members = {"plain": [Colour.RED, Colour.RED], "inner": [Job.Status.DONE, Job().status]}
        for name, pair in members.items():
            LocalStateHandler(place / "enum.pkl").write({"v": pair}, run_id=name)
    else:
        for name, member in (("plain", Colour.RED), ("inner", Job.Status.DONE)):
            one, other = LocalStateHandler(place / "enum.pkl").read(name)["v"]
            print(one is other is member)  # noqa: T201


if __name__ == "__main__":
    main()
