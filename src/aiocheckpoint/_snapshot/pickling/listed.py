"""The globals of `allow=`: the list, the objects that it names, and the ways to restrict them."""

from __future__ import annotations

import collections.abc
import enum
import operator
import re
import types
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.names import RESOLVE
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CALLED_ONLY",
    "ENUM_CALLS",
    "Allow",
    "RefusedChangeError",
    "RefusedGlobalError",
    "checked_allow",
    "is_changeable",
]

Allow = frozenset[str]
"""Globals as "package.module:Name"."""

_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
_FORM = '"package.module:Name", as in allow=("datetime:datetime",)'
_CHANGEABLE = (
    collections.abc.MutableMapping,
    collections.abc.MutableSequence,
    collections.abc.MutableSet,
    types.ModuleType,
)


class RefusedGlobalError(Exception):
    """A stream names a global that is not listed. The message is that name."""


class RefusedChangeError(Exception):
    """A stream changes an object that existed before. The message names it."""


def is_changeable(found: object) -> bool:
    """Whether a listed object is a container or a module, which calls could change."""
    return isinstance(found, _CHANGEABLE)


def _enum_member(kind: Any, name: Any) -> Any:  # noqa: ANN401 - any arguments of a stream
    """Give the member of an enum. Python 3.11.0 to 3.11.3 pickle members by `getattr`."""
    if isinstance(kind, enum.EnumMeta) and isinstance(name, str) and name in kind.__members__:
        return kind.__members__[name]
    raise RefusedGlobalError("builtins:getattr")


def _flag_union(one: Any, other: Any) -> Any:  # noqa: ANN401 - any arguments of a stream
    """Give the union of two flags. Python 3.11.0 to 3.11.3 pickle combinations by `|`."""
    if isinstance(one, enum.Flag) and isinstance(other, enum.Flag):
        return one | other
    raise RefusedGlobalError("_operator:or_")


ENUM_CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "builtins:getattr": (getattr, _enum_member),
    "_operator:or_": (operator.or_, _flag_union),
}
"""Functions by which early releases of Python 3.11 pickle enums, and what replaces each where it is
not listed: a function that does the same for enums alone."""
CALLED_ONLY = frozenset({*ENUM_CALLS, RESOLVE})
"""Functions that a stream may call though they are not listed, each replaced by a harmless one."""


def checked_allow(allow: object) -> Allow:
    """Give the set of globals that `allow=` lists.

    Raises:
        InvalidTypeError: It is no list of strings.
        InvalidValueError: A string does not have the form "package.module:Name".
    """
    if not isinstance(allow, (list, tuple, set, frozenset)):
        raise InvalidTypeError(
            f"allow= is a list of globals, each {_FORM}, not a {type(allow).__name__}; "
            "allow=() is for plain data alone, and without allow= everything is loaded."
        )
    for name in allow:
        if not isinstance(name, str):
            raise InvalidTypeError(
                f"allow= lists texts of the form {_FORM}, and a {type(name).__name__} is none."
            )
        if not re.fullmatch(_NAME, name):
            raise InvalidValueError(f"allow= lists {name!r}, which is not of the form {_FORM}.")
    return frozenset(allow)
