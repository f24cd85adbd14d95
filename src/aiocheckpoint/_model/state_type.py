"""The type of a flow's state, as type checkers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Type checkers know this module without its package. `typing` has defaults from Python 3.13 on.
    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", bound=Mapping[str, object], default=dict[str, Any])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

__all__ = ["Data", "StateT"]

Data = dict[str, Any]
"""The type of `data`, and of a state without a type of its own."""
