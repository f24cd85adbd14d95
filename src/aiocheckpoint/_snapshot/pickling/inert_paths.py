"""The steps of a path into an inert tree: `.price`, `[3]`, `['two words']`, `{'member'}`."""

from __future__ import annotations

from typing import Any, Final

from aiocheckpoint._snapshot.pickling.inert_known import recognize, type_name
from aiocheckpoint._snapshot.pickling.inert_values import SCALARS, Placeholder

__all__ = ["member_step", "step_of"]

_LONGEST: Final = 80


def step_of(key: Any) -> str:  # noqa: ANN401 - an inert tree
    """The step to the value of a key of a dict."""
    if type(key) is str and len(key) <= _LONGEST and key.isidentifier():
        return f".{key}"
    return f"[{_shown(key)}]"


def member_step(step: str) -> str:
    """The step to a member of a set, from that to a key."""
    return f"{{'{step[1:]}'}}" if step.startswith(".") else f"{{{step[1:-1]}}}"


def _shown(key: Any) -> str:  # noqa: ANN401
    kind = type(key)
    if kind is int and key.bit_length() > _LONGEST:
        text = hex(key)
    elif kind is str or kind is bytes:
        text = ascii(key[: _LONGEST + 1])
    elif kind in SCALARS:
        text = ascii(key)
    elif isinstance(key, Placeholder):
        known = recognize(key)
        text = ascii(known.facts.get("value")) if known else type_name(key)
        text = f"<{type_name(key)} {text}>" if known else f"<{text}>"
    elif kind is tuple and SCALARS.issuperset(map(type, key)) and len(key) <= _LONGEST:
        text = f"({', '.join(map(_shown, key))}{',' * (len(key) == 1)})"
    else:
        text = f"<{type_name(key)} of {len(key)}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
