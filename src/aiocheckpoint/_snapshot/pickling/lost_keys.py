"""Loads a stream of which a part cannot be loaded, and tells the keys of the dict that are lost.

Python's own unpickler is used, as in `unpicklers`. Where a name is not found, or a call or the
state of an object fails, a placeholder is pushed in place of the object. All that holds the
placeholder is lost with it, up to the value of a key.
"""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from aiocheckpoint._snapshot.pickling.by_dill import BY_VALUE, find_for_dill
from aiocheckpoint._snapshot.pickling.listed import RefusedChangeError, RefusedGlobalError
from aiocheckpoint._snapshot.pickling.names import MissingNameError
from aiocheckpoint._snapshot.pickling.unpicklers import WatchingUnpickler
from aiocheckpoint._snapshot.pickling.vetting import vet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["load_what_loads"]

_PythonUnpickler: Any = vars(pickle)["_Unpickler"]
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_Action: TypeAlias = "Callable[[Any], None]"

_NO_LOSS = (RefusedGlobalError, RefusedChangeError, MemoryError)
"""Errors that end the loading: they say nothing about a single value."""


def load_what_loads(
    file: BinaryIO, allow: Allow | None, modules: StepModules, *, code: bool
) -> tuple[object, dict[object, str]]:
    """Load a stream but for the values of its dict that cannot be loaded.

    Args:
        file: The file, seekable, with the stream at its beginning.
        allow: The allowlist of globals, or None for all.
        modules: The modules of the steps, where names are looked for as well.
        code: Whether functions and classes by value are loaded.

    Returns:
        The loaded object, and the lost keys with the reasons.

    Raises:
        Exception: The stream cannot be loaded at all.
    """
    if allow is not None:
        vet(file, file.seek(0, os.SEEK_END), allow)
    file.seek(0)
    unpickler: Any = (
        _TolerantUnpickler(file, modules, code=code)
        if allow is None
        else _RestrictedUnpickler(file, allow, modules)
    )
    return unpickler.load(), unpickler.losses.take_from(unpickler.root)


class _Lost:
    """The placeholder of an object.

    Args:
        target: The object that the failed call was to change.
    """

    def __init__(self, target: object = None) -> None:
        self.target = target


class _Losses:
    """The lost objects of a stream. Each object that holds a lost one is lost as well."""

    def __init__(self) -> None:
        self._reasons: dict[int, str] = {}
        self._holders: dict[int, list[int]] = {}
        self._alive: list[object] = []  # No object may take the id of another one.

    def reason(self, *objects: object) -> str | None:
        """Why one of these objects is lost, or None."""
        return next((self._reasons[id(o)] for o in objects if id(o) in self._reasons), None)

    def lose(self, lost: object, reason: str) -> None:
        """Note that an object is lost, and all that holds it."""
        self._alive.append(lost)
        waiting = [id(lost)]
        while waiting:
            number = waiting.pop()
            if number not in self._reasons:
                self._reasons[number] = reason
                waiting += self._holders.get(number, ())

    def hold(self, holder: object, held: Iterable[object]) -> None:
        """Note that an object holds others, which may be lost later."""
        self._alive.append(holder)
        for one in held:
            if type(one) not in _ATOMS:
                self._alive.append(one)
                self._holders.setdefault(id(one), []).append(id(holder))
                reason = self.reason(one)
                if reason is not None:
                    self.lose(holder, reason)

    def take_from(self, root: object) -> dict[object, str]:
        """Remove the lost values from the dict of the stream, and give their keys and reasons."""
        if not isinstance(root, dict):
            return {}
        lost = {key: self.reason(key, value) for key, value in root.items()}
        found = {key: reason for key, reason in lost.items() if reason is not None}
        for key in found:
            del root[key]
        return found


def _why(error: Exception, what: object) -> str:
    if isinstance(error, MissingNameError):
        return str(error)
    name = getattr(what, "__qualname__", None) or type(what).__qualname__
    return f"loading it raised {type(error).__name__} ({name})"


class _Tolerant:
    """The parts of both unpicklers."""

    losses: _Losses
    root: object
    stack: list[Any]
    metastack: list[list[Any]]

    def push_lost(self, reason: str, target: object = None) -> None:
        """Push a placeholder."""
        lost = _Lost(target)
        self.losses.lose(lost, reason)
        self.stack.append(lost)

    def found(self, find: Callable[[str, str], Any], module: str, name: str) -> Any:  # noqa: ANN401
        """Find a name, or give a placeholder."""
        try:
            return find(module, name)
        except MissingNameError as error:
            lost = _Lost()
            self.losses.lose(lost, str(error))
            return lost


class _TolerantUnpickler(_Tolerant, _PythonUnpickler):  # type: ignore[misc]
    def __init__(self, file: BinaryIO, modules: StepModules, *, code: bool) -> None:
        super().__init__(file)  # pyright: ignore[reportCallIssue]
        self.losses, self.root = _Losses(), None
        self._modules, self._code = modules, code

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - fixed by pickle
        return self.found(self._find, module, name)

    def _find(self, module: str, name: str) -> Any:  # noqa: ANN401
        if not self._code and name in BY_VALUE:
            raise MissingNameError(module, name, "it makes code of another version of Python")
        return find_for_dill(self._modules, module, name, super().find_class)


class _RestrictedUnpickler(_Tolerant, WatchingUnpickler):
    def __init__(self, file: BinaryIO, allow: Allow, modules: StepModules) -> None:
        super().__init__(file, allow, modules)
        self.losses, self.root = _Losses(), None

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - fixed by pickle
        return self.found(super().find_class, module, name)


# --- the opcodes


def _do(action: _Action, unpickler: Any, what: object) -> str | None:  # noqa: ANN401
    """Do what an opcode says, and give the reason why it failed, or None.

    Classes, hashes and comparisons of users raise anything.
    """
    try:
        action(unpickler)
    except _NO_LOSS:
        raise
    except Exception as error:  # noqa: BLE001
        return _why(error, what)
    return None


def _calling(action: _Action, taken: int) -> _Action:
    """An opcode that calls the lowest of the values that it takes."""

    def call(unpickler: Any) -> None:  # noqa: ANN401
        stack, losses = unpickler.stack, unpickler.losses
        base = len(stack) - taken
        function, *given = stack[base:]
        args = given[0] if given and isinstance(given[0], tuple) else ()
        target = args[0] if args and type(args[0]) not in _ATOMS else None
        reason = losses.reason(function, *given)
        reason = reason or _do(action, unpickler, function)
        if reason is not None:
            del stack[base:]
            unpickler.push_lost(reason, target)
            return
        losses.hold(stack[-1], given)
        if stack[-1] is None and target is not None:  # It was called to change its argument.
            losses.hold(target, args[1:])

    return call


def _filling(action: _Action, taken: int | None) -> _Action:
    """An opcode that puts values into an object, all to the mark without a number."""

    def fill(unpickler: Any) -> None:  # noqa: ANN401
        losses = unpickler.losses
        below = unpickler.stack if taken else unpickler.metastack[-1]
        values = unpickler.stack[-taken:] if taken else unpickler.stack[:]
        depth = len(below) - (taken or 0)
        target = below[depth - 1]
        reason = losses.reason(target)
        if reason is None and target is not unpickler.root:
            reason = losses.reason(*values)
        reason = reason or _do(action, unpickler, target)
        if reason is not None:
            if not taken and unpickler.stack is not below:
                unpickler.pop_mark()
            del below[depth:]
            losses.lose(target, reason)
        elif target is not unpickler.root:
            losses.hold(target, values)

    return fill


def _gathering(action: _Action, taken: int | None) -> _Action:
    """An opcode that makes one object of values, of all to the mark without a number."""

    def gather(unpickler: Any) -> None:  # noqa: ANN401
        values = unpickler.stack[-taken:] if taken else unpickler.stack[:]
        reason = _do(action, unpickler, values[0] if values else None)
        if reason is not None:
            unpickler.push_lost(reason)
        else:
            unpickler.losses.hold(unpickler.stack[-1], values)

    return gather


def _noting_root(action: _Action) -> _Action:
    def note(unpickler: Any) -> None:  # noqa: ANN401
        action(unpickler)
        if not unpickler.metastack and len(unpickler.stack) == 1:
            unpickler.root = unpickler.stack[0]

    return note


def _popping(action: _Action) -> _Action:
    def pop(unpickler: Any) -> None:  # noqa: ANN401
        top = unpickler.stack[-1] if unpickler.stack else None
        action(unpickler)
        if isinstance(top, _Lost) and top.target is not None:
            unpickler.losses.lose(top.target, unpickler.losses.reason(top))

    return pop


_CALLS = {pickle.REDUCE: 2, pickle.NEWOBJ: 2, pickle.NEWOBJ_EX: 3}
_FILLS = {pickle.BUILD: 1, pickle.APPEND: 1, pickle.SETITEM: 2}
_FILLS_TO_MARK = (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS)
_GATHERS = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
_GATHERS_TO_MARK = (pickle.TUPLE, pickle.LIST, pickle.DICT, pickle.FROZENSET)


def _guarded(dispatch: dict[int, _Action]) -> dict[int, _Action]:
    """The actions of an unpickler, each going on where it fails."""
    changed = {code: _noting_root(_calling(dispatch[code[0]], n)) for code, n in _CALLS.items()}
    changed |= {code: _filling(dispatch[code[0]], n) for code, n in _FILLS.items()}
    changed |= {code: _filling(dispatch[code[0]], None) for code in _FILLS_TO_MARK}
    changed |= {code: _gathering(dispatch[code[0]], n) for code, n in _GATHERS.items()}
    changed |= {code: _gathering(dispatch[code[0]], None) for code in _GATHERS_TO_MARK}
    changed[pickle.POP] = _popping(dispatch[pickle.POP[0]])
    changed[pickle.EMPTY_DICT] = _noting_root(dispatch[pickle.EMPTY_DICT[0]])
    return dispatch | {code[0]: action for code, action in changed.items()}


_TolerantUnpickler.dispatch = _guarded(_PythonUnpickler.dispatch)
_RestrictedUnpickler.dispatch = _guarded(WatchingUnpickler.dispatch)
