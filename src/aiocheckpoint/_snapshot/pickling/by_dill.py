"""The reach of dill: functions and classes written by value, and the loading of its streams.

This is the only module that imports dill. Functions and classes that a name finds are written by
this name here as well, and the namespace of a script is never written.
"""

from __future__ import annotations

import enum
import os
import sys
import types
from collections import namedtuple
from functools import partial
from typing import TYPE_CHECKING, Any

import dill as untyped_dill  # type: ignore[import-untyped]

from aiocheckpoint._snapshot.pickling.allowlist import UnserializableError
from aiocheckpoint._snapshot.pickling.names import (
    FUNCTION_TYPES,
    MAIN,
    RESOLVE,
    MissingNameError,
    find_name,
    is_main,
    refer,
    resolve_name,
    resolver,
)
from aiocheckpoint._snapshot.pickling.refused_types import unloadable_reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.target import PickleSink

__all__ = [
    "BY_VALUE",
    "DILL_VERSION",
    "ByValuePickler",
    "NamesUnpickler",
    "find_for_dill",
    "is_written_otherwise",
    "name_of",
]

dill: Any = untyped_dill
DILL_VERSION: str = dill.__version__

BY_VALUE = frozenset({"_create_code", "_create_function", "_create_type", "new_class"})
"""Names of the functions by which dill rebuilds code and classes written by value."""
_SAME = frozenset({range, slice, type(...), type(NotImplemented)})
_SAME_BY_NAME = frozenset({"save_numpy_ufunc", "save_numpy_dtype"})
"""Types for which dill has functions of its own that write the same as the C pickler."""
_BUILT_IN = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray}
    | {dict, list, tuple, set, frozenset, types.CodeType, types.CellType}
)
"""Types whose objects the pickler itself writes, or which are parts of functions."""
_DILLS = frozenset({"dill._dill", "dill.dill"})


def is_written_otherwise(kind: type) -> bool:
    """Whether dill writes instances of `kind` in a way of its own that matters on load."""
    save = dict.get(dill.Pickler.dispatch, kind)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.ndarray):
        # The C pickler loses the attributes of a subclass. Once dill has met an array it has an
        # entry for arrays that does the same for plain ones, and copies them.
        return kind is not numpy.ndarray or not (save is None or _is_dills_own(save))
    if save is None:
        return False
    return not (_is_dills_own(save) and (kind in _SAME or save.__name__ in _SAME_BY_NAME))


def _is_dills_own(save: Any) -> bool:  # noqa: ANN401
    return bool(getattr(save, "__module__", None) == dill.Pickler.__module__)


def name_of(obj: Any, modules: StepModules) -> str | tuple[Any, ...] | None:  # noqa: ANN401
    """The way to write a function, class or bound method by its name, as `refer` gives it.

    None for all other objects, and for types that the user registered with dill.
    """
    kind = type(obj)
    if kind in FUNCTION_TYPES or issubclass(kind, (type, types.MethodType)):
        save = dict.get(dill.Pickler.dispatch, kind)
        if save is None or _is_dills_own(save):
            return _method(obj) if kind is types.MethodType else refer(obj, modules)
    return None


def _method(obj: types.MethodType) -> tuple[Any, ...] | None:
    """Refer to a method by its name and the object that it is bound to."""
    name = obj.__func__.__name__
    try:
        found = getattr(obj.__self__, name, None)
    except Exception:  # noqa: BLE001 - the user's own __getattr__
        return None
    return (getattr, (obj.__self__, name)) if found == obj else None


class _Namespace:
    """Holds the namespace of a script, as a module does."""


class ByValuePickler(dill.Pickler):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
    """dill's pickler, which writes by value only what no name finds.

    Attributes:
        holds_code: Whether functions or classes were written by value.
    """

    # dill recognizes its own pickler by this name, and writes the namespace of __main__ by
    # reference only for that one.
    __module__ = dill.Pickler.__module__

    def __init__(
        self, file: PickleSink, protocol: int, modules: StepModules, met: dict[type, object]
    ) -> None:
        super().__init__(file, protocol)  # pyright: ignore[reportUnknownMemberType]
        self.holds_code = False
        self._modules, self._met = modules, met
        self._usual: set[type] = set()
        self._main_modified, self._original_main = False, _Namespace()

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind in self._usual or (kind is dict and "__builtins__" not in obj):
            return NotImplemented
        reference = self._reference(obj, kind)
        if reference is not None:
            return reference
        if kind not in _BUILT_IN:
            self._met.setdefault(kind, obj)
        if isinstance(obj, enum.EnumMeta):
            raise UnserializableError(f"the enum {obj.__qualname__} is not found under its name")
        if kind is types.FunctionType:
            self._leave_out_main(obj)
            return NotImplemented
        reason = unloadable_reason(obj)
        if reason is not None:
            raise UnserializableError(reason)
        if not issubclass(kind, (type, dict, BaseException, types.MethodType, *FUNCTION_TYPES)):
            self._usual.add(kind)
        return NotImplemented

    def _reference(self, obj: Any, kind: type) -> str | tuple[Any, ...] | None:  # noqa: ANN401
        if kind is dict:
            return (resolve_name(), (f"{MAIN}:__dict__",)) if is_main(obj, self._modules) else None
        if kind is types.ModuleType:
            # dill would write the globals of a user's module, and load them into it.
            name = str(obj.__name__)
            return (dill._dill._import_module, (name,)) if sys.modules.get(name) is obj else None  # noqa: SLF001
        return name_of(obj, self._modules)

    def _leave_out_main(self, function: types.FunctionType) -> None:
        """Let dill name the namespace of a script, also where `sys.modules` has another one."""
        self._main_modified = is_main(function.__globals__, self._modules)
        self._original_main.__dict__ = function.__globals__

    def save_reduce(self, func: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if getattr(func, "__name__", None) in BY_VALUE:
            self.holds_code = True
        super().save_reduce(func, *args, **kwargs)  # pyright: ignore[reportUnknownMemberType]


class NamesUnpickler(dill.Unpickler):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
    """dill's unpickler, which looks for names in the modules of the steps as well."""

    def __init__(self, file: BinaryIO, modules: StepModules) -> None:
        super().__init__(file)  # pyright: ignore[reportUnknownMemberType]
        self._modules = modules

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401 - fixed by pickle
        return find_for_dill(self._modules, module, name, super().find_class)


def find_for_dill(
    modules: StepModules, module: str, name: str, find: Callable[[str, str], Any]
) -> Any:  # noqa: ANN401 - a function or class
    """Find a name of a stream that dill may have written.

    Args:
        modules: The modules of the steps.
        module: Name of the module.
        name: Qualified name in it.
        find: dill's own way to find it.

    Raises:
        MissingNameError: It is not found.
    """
    if f"{module}:{name}" == RESOLVE:
        return resolver(partial(find_for_dill, modules, find=find))
    if (module, name) == ("__builtin__", "__main__"):
        return find_name(modules, MAIN, "__dict__", find)
    if module in _DILLS and name == "_create_function":
        return partial(_create_function, modules)
    if module in _DILLS and name == "_create_namedtuple":
        return _create_namedtuple
    if module in _DILLS and name == "_import_module":
        return partial(_import_module, modules)
    return find_name(modules, module, name, find)


def _create_function(modules: StepModules, code: types.CodeType, names: Any, *others: Any) -> Any:  # noqa: ANN401
    """Make a function as dill does. A function of a script gets the names of that script."""
    if isinstance(names, dict) and is_main(names, modules):
        file = os.path.basename(code.co_filename)
        for one in modules.searched(MAIN):
            if os.path.basename(str(one.get("__file__"))) == file:
                names = one
                break
    return dill._dill._create_function(code, names, *others)  # noqa: SLF001


def _create_namedtuple(name: str, fields: tuple[str, ...], module: str, *defaults: Any) -> Any:  # noqa: ANN401
    """Make a named tuple as dill does, which would take another one of the same name for it."""
    made = dill._dill._create_namedtuple(name, fields, module, *defaults)  # noqa: SLF001
    if getattr(made, "_fields", None) == tuple(fields):
        return made
    make: Any = namedtuple  # noqa: PYI024
    return make(name, fields, module=module, defaults=defaults[0] if defaults else None)


def _import_module(modules: StepModules, name: str, safe: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002
    """Import a module as dill does, unless it is the script that runs already."""
    if name not in sys.modules and modules.searched(name):
        return sys.modules[MAIN]
    try:
        return dill._dill._import_module(name, safe)  # noqa: SLF001
    except (ImportError, AttributeError, KeyError) as error:
        module, _, last = name.rpartition(".")
        raise MissingNameError(module or name, last, "it cannot be imported") from error
