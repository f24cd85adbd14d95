"""The names of the parameters of users' functions, which show mistakes of their order."""

from __future__ import annotations

import inspect

from aiocheckpoint.errors import FlowDefinitionError

__all__ = ["check_parameter_names"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_parameter_names(what: str, signature: inspect.Signature, forms: str, name: str) -> None:
    """Refuse functions that would be called with other arguments than their parameters say.

    Args:
        what: The kind and name of the function, such as "step 'read'".
        signature: Its signature, for a bound method without the object.
        forms: The parameters that it may have, in words.
        name: Its name.

    Raises:
        FlowDefinitionError: The first parameter is called `self` or `data`, or the second `state`.
    """
    found = [one.name for one in signature.parameters.values() if one.kind in _POSITIONAL]
    first, second = (*found, "", "")[:2]
    if first == "self":
        raise FlowDefinitionError(
            f"the {what} takes {signature}: it is a method, and is called with no object. Make the "
            f"object, and register its method below the class: cp.add_step(...)(object.{name}).",
            step=name,
        )
    if first == "data" or second == "state":
        wrong = "first parameter is called 'data'" if first == "data" else "second is 'state'"
        raise FlowDefinitionError(
            f"the {what} takes {signature}, and its {wrong}. It is called with {forms}, in this "
            "order: change its parameters.",
            step=name,
        )
