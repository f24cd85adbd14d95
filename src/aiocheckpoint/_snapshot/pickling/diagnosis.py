"""Finds the values in a state that cannot be stored, by dumping its parts one by one."""

from __future__ import annotations

import collections
import contextlib
import functools
import types
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._snapshot.keys import DATA_KEY
from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint._snapshot.pickling.refused_types import refusal_reason
from aiocheckpoint._snapshot.pickling.serializer import NESTED, UnserializableError, dump, load
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.target import PickleSink

    _Look = Callable[[Any], Iterator[tuple[str, object]]]

__all__ = ["find_unserializable", "path_of", "shown_key"]

_DEPTH = 20
_MOST = 10
_KEY_LENGTH = 60


class _Nowhere:
    def write(self, chunk: Buffer, /) -> None:
        """Keep nothing."""

    def rewind(self) -> None:
        """Nothing was kept."""


def find_unserializable(
    state: object,
    allow: Allow | None = None,
    modules: StepModules = NO_MODULES,
    *,
    load_back: bool = False,
) -> tuple[tuple[str, str], ...]:
    """Find the innermost values that cannot be dumped, at most ten of them.

    Args:
        state: Where to look.
        allow: The globals that a dump may name. By default all.
        modules: The modules of the steps.
        load_back: Whether to find values that cannot be loaded again as well.

    Returns:
        Pairs of a path such as `state["jobs"][3].lock` and the reason, which names types and
        never holds a value. Empty if everything can be dumped on its own.
    """
    search = _Search(allow, modules, load_back=load_back)
    search.look("state", state, _DEPTH)
    return tuple((_in_data(path), reason) for path, reason in search.found)


def path_of(key: object) -> str:
    """The path of a key's value, such as `state["jobs"]`."""
    return _in_data(f"state[{shown_key(key)}]")


def _in_data(path: str) -> str:
    """The path for users: a value that `keep_data=True` stores beside the state is in `data`."""
    beside = f"state[{shown_key(DATA_KEY)}]"
    return f"data{path.removeprefix(beside)}" if path.startswith(beside) else path


class _Search:
    """Looks for values that cannot be stored, from a value inwards."""

    def __init__(self, allow: Allow | None, modules: StepModules, *, load_back: bool) -> None:
        self.found: list[tuple[str, str]] = []
        self._allow, self._modules = allow, modules
        # Pickles may hold other attributes than the visible ones, and an allowlist must be exact.
        self._looks = (_items, _members, _attributes) if allow is None else (_items, _members)
        self._problem = self._load_problem if load_back else self._dump_problem
        self._seen: set[int] = set()

    def look(self, path: str, value: object, depth: int) -> None:
        """Note the innermost offenders in a value, or the value itself where its parts are fine."""
        reason = self._problem(value)
        if reason is None or len(self.found) >= _MOST or id(value) in self._seen:
            return
        self._seen.add(id(value))
        before = len(self.found)
        if depth and (path == "state" or reason != NESTED) and not refusal_reason(type(value)):
            for part_path, part in _parts(path, value, self._looks):
                self.look(part_path, part, depth - 1)
        if len(self.found) == before:
            self.found.append((path, f"{type(value).__qualname__}: {reason}"))

    def _dump_problem(self, value: object, sink: PickleSink | None = None) -> str | None:
        try:
            dump(value, sink or _Nowhere(), self._allow, modules=self._modules)
        except UnserializableError as error:
            return str(error)
        return None

    def _load_problem(self, value: object) -> str | None:
        memory = MemoryTarget()
        problem = self._dump_problem(value, memory)
        if problem is not None:
            return problem
        try:
            load(memory, self._allow, modules=self._modules)
        except KeyboardInterrupt:
            raise
        # The message may quote values of the state.
        except BaseException as error:  # noqa: BLE001
            return f"it would not load again ({type(error).__name__})"
        return None


def _parts(path: str, value: object, looks: Sequence[_Look]) -> list[tuple[str, object]]:
    """Paths and values of the visible parts of a value."""
    found: list[tuple[str, object]] = []
    for parts in looks:
        # Proxies and the like raise any exception when they are inspected.
        with contextlib.suppress(Exception):
            found.extend((path + name, part) for name, part in parts(value))
    return found


def _items(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, dict):
        for key, item in list(cast("dict[object, object]", value).items()):
            yield f"[{shown_key(key)}]", item
            yield f".keys()[{shown_key(key)}]", key
    elif isinstance(value, (list, tuple, collections.deque)):
        for index, item in enumerate(list(cast("list[object]", value))):
            yield f"[{index}]", item


def _members(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, (set, frozenset)):
        for item in list(cast("set[object]", value)):
            yield f".{{{type(item).__name__}}}", item
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield f".<closure>.{name}", cell.cell_contents


def _attributes(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, type):
        return
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    if isinstance(value, functools.partial):
        names += ["func", "args", "keywords"]
    elif isinstance(value, BaseException):
        names += ["args"]
    for name in names:
        if hasattr(value, name):
            yield f".{name}", getattr(value, name)


def shown_key(key: object) -> str:
    """A key for a path in a message, cut if it is long. Only keys of simple types are shown."""
    if type(key) is str:
        return '"' + (key if len(key) <= _KEY_LENGTH else key[:_KEY_LENGTH] + "…") + '"'
    if type(key) in {bool, type(None)} or (type(key) is int and key.bit_length() <= _KEY_LENGTH):
        return repr(key)
    return f"<{type(key).__name__}>"
