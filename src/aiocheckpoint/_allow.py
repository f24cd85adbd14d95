"""Which globals a snapshot may name: `allow=()` none, so that loading it runs no code at all."""

from __future__ import annotations

import re

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["Allow", "check_allow"]

Allow = frozenset[str]
"""Globals as "package.module:Name"."""

_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
_FORM = '"package.module:Name", as in allow=("datetime:datetime",)'


def check_allow(allow: object) -> Allow:
    """Give the set of globals that `allow=` lists.

    Raises:
        InvalidTypeError: It is no list of strings.
        InvalidValueError: One of them has not the form "package.module:Name".
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
