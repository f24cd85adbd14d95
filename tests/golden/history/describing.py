"""Values described as JSON, equal with every version of the library.

`write.py` describes the headers that a released version reads and the records that it pickles. The
tests load the same bytes with today's library, describe the result, and compare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import aiocheckpoint
from aiocheckpoint import CheckpointError, StorageError, events, handlers

MODULES = (aiocheckpoint, events, handlers)
_PAUSE: type[BaseException] = getattr(aiocheckpoint, "Pause", CheckpointError)  # new in 0.4.0
_TERMINATE: type[BaseException] = getattr(aiocheckpoint, "Terminate", CheckpointError)  # in 0.6.0


def public_name(kind: type) -> str:
    """Find the name under which users import a class, or its own name if it is not public."""
    for module in MODULES:
        for name in module.__all__:
            if getattr(module, name) is kind:
                return f"{module.__name__}.{name}"
    return f"{kind.__module__}.{kind.__qualname__}"


def public_class(name: str) -> object:
    """Find the class that users import by a name, or by its name in 0.5.0, or None."""
    module, _, last = name.rpartition(".")
    found = {one.__name__: one for one in MODULES}
    return getattr(found.get(module), "StepNamesExcerpt" if last == "Excerpt" else last, None)


def described(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Describe a value as JSON: records by class and fields, plain data by its `repr`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = [field.name for field in dataclasses.fields(value) if field.repr]
        return _record(value, {name: getattr(value, name) for name in shown})
    as_dict = getattr(value, "_asdict", None)
    if as_dict is not None:  # a named tuple
        return _record(value, as_dict())
    if isinstance(value, (CheckpointError, _PAUSE, _TERMINATE)):
        facts = {"args": value.args, **vars(value)}
        if isinstance(value, StorageError):
            facts["errno"] = value.errno
        return {**_record(value, facts), "text": str(value)}
    if isinstance(value, Mapping):
        return {"items": [[repr(key), described(one)] for key, one in value.items()]}
    return repr(value)


def _record(value: object, facts: Mapping[str, object]) -> dict[str, Any]:
    fields = {name: described(one) for name, one in facts.items()}
    return {"class": public_name(type(value)), "fields": fields}
