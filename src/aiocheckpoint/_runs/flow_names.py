"""The names under which a program has a flow: a variable, or a target for other processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._runs.flow_methods import FlowMethods

if TYPE_CHECKING:
    from types import ModuleType

    from aiocheckpoint._engine.context import FlowSettings
    from aiocheckpoint._model.steps import Steps

__all__ = ["ProgramNames"]

_TARGET_VARIABLE = "AIOCHECKPOINT_TARGET"
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class ProgramNames:
    """Looks for a flow among the global variables of modules. It calls no code of other values."""

    def variable(self, module: str, settings: FlowSettings, steps: Steps) -> str | None:
        """Find the variable of a module that is the flow. None where there is none.

        Args:
            module: Name of the module.
            settings: The settings of the flow.
            steps: Its steps.
        """
        namespace = getattr(sys.modules.get(module), "__dict__", {})
        names = [
            name for name, value in list(namespace.items()) if _is_flow(value, settings, steps)
        ]
        # Of several, `cp` as in all examples, and no name that IPython gives to an output.
        return min(names, key=lambda name: (name != "cp", name.startswith("_")), default=None)

    def target(self, settings: FlowSettings, steps: Steps) -> str | None:
        """Find the target of the flow, such as "service:cp". None where none is certain.

        It is the target of the environment if that is the flow. Else it is a variable of a module
        that made the flow or defines its steps, and that a command in the working directory can
        import.

        Args:
            settings: The settings of the flow.
            steps: Its steps.
        """
        given = os.environ.get(_TARGET_VARIABLE, "")
        module, _, name = given.partition(":")
        namespace = getattr(sys.modules.get(module), "__dict__", {})
        if name in namespace and _is_flow(namespace[name], settings, steps):
            return given
        for module in settings.modules.names():
            if _is_importable(sys.modules.get(module)):
                variable = self.variable(module, settings, steps)
                if variable is not None:
                    return f"{module}:{variable}"
        return None


def _is_flow(value: object, settings: FlowSettings, steps: Steps) -> bool:
    if FlowMethods not in type(value).__mro__:  # `isinstance` would ask a proxy for its object.
        return False
    core = cast("FlowMethods[Any]", value)._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return core.settings.lifespans is settings.lifespans and core.registry.steps is steps


def _is_importable(module: ModuleType | None) -> bool:
    """Whether a command in the working directory finds a module, and its import runs no flow."""
    spec = None if module is None else module.__spec__
    # A module that is being imported has run the flow by its import.
    if spec is None or getattr(spec, "_initializing", False):
        return False
    file = getattr(sys.modules.get(spec.name.partition(".")[0]), "__file__", None)
    if file is None or spec.name == "__main__":
        return False
    place, name = os.path.split(os.path.abspath(file))
    if name == "__init__.py":
        place = os.path.dirname(place)
    return place == os.getcwd() or (os.path.basename(place) in _INSTALLED and place in sys.path)
