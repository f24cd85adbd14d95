"""The versions in a header: Python, dill and library of the program that pickled the state."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.pickling.by_dill import DILL_VERSION
from aiocheckpoint._version import __version__

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["PYTHON_VERSION", "stamped"]

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))
_VERSIONS = {"python": PYTHON_VERSION, "dill": DILL_VERSION, "library": __version__}


def stamped(header: Header, *, code: bool = False) -> Header:
    """The header with the versions of this program. Itself where it has them already.

    Args:
        header: The header of a state that is pickled now.
        code: Whether the payload holds functions or classes by value.
    """
    same = header.library == __version__ and header.python == PYTHON_VERSION
    if same and header.dill == DILL_VERSION and header.code == code:
        return header
    return header.from_trusted({**header.__dict__, **_VERSIONS, "code": code})
