"""The base of the classes from which `CheckpointFlow` inherits its public methods."""

from __future__ import annotations

from copy import copy
from types import GenericAlias
from typing import TYPE_CHECKING, Generic, Self

from aiocheckpoint._model.state_type import StateT

if TYPE_CHECKING:
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["FlowMethods"]


class FlowMethods(Generic[StateT]):
    """Base of the classes from which `CheckpointFlow` inherits its public methods.

    The methods work on the core alone. The core knows states as dicts, and the public methods give
    them the type that the flow was parametrised with.

    Args:
        core: The core of the flow.
    """

    if not TYPE_CHECKING:
        # In C, as in the standard library: no frame of `typing` between a flow and its caller.
        __class_getitem__ = classmethod(GenericAlias)
        # Refuses the note of `CheckpointFlow[Order](...)`, which pickles would need `Order` for.
        __orig_class__ = property()

    def __init__(self, core: FlowCore) -> None:
        self._core = core

    def __copy__(self) -> Self:
        """Make a flow of the same place, to which steps can be added apart."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._core = copy(self._core)
        return copied
