"""The base of the classes from which `CheckpointFlow` inherits its public methods."""

from __future__ import annotations

from copy import copy, deepcopy
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsIndex

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Make a flow of the same place with steps, runs and other attributes of its own."""
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        copied._core = memo[id(self._core)] = self._core.apart()
        memo[id(self._core.handler)] = self._core.handler
        for name, value in self.__dict__.items():
            copied.__dict__[name] = deepcopy(value, memo)
        return copied

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickle the flow by its target where it is a global of a module, and else by value.

        Raises:
            UnpicklableFlowError: Another process cannot have it.
        """
        from aiocheckpoint._runs import sent_flows  # noqa: PLC0415 - few flows are sent anywhere

        if "_core" not in self.__dict__:  # A subclass before `super().__init__`.
            return super().__reduce_ex__(protocol)
        sent_flows.check_sendable(self._core)
        target = sent_flows.target_of(self, self._core)
        if target is not None:
            return sent_flows.find_flow, (target,)
        sent_flows.check_parts(self._core, int(protocol))
        return super().__reduce_ex__(protocol)
