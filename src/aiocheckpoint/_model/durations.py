"""How long the steps of a run took, as its header tells it."""

from __future__ import annotations

from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._model.step_names import max_recorded

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Durations", "newest"]

_Value = TypeVar("_Value")


class Durations(dict[str, float]):
    """Seconds by step name, each encoded once: a header is written after every step.

    Args:
        seconds: What is known so far.
        most: From how many on the oldest is forgotten when another is set.

    Attributes:
        joined: The JSON of all entries.
    """

    def __init__(
        self, seconds: Mapping[str, float] | None = None, most: int = max_recorded(None)
    ) -> None:
        super().__init__()
        self._most = most
        self.joined: str = ""
        for name, value in (seconds or {}).items():
            self._add(name, value)

    def __setitem__(self, name: str, seconds: float) -> None:
        """Set a value, kept to the microsecond, as the newest."""
        if name in self or len(self) >= self._most:
            self._make_room(name)
        self._add(name, seconds)

    def _add(self, name: str, seconds: float) -> None:
        text = f"{seconds:.6f}"
        super().__setitem__(name, float(text))
        piece = f"{quoted(name)}:{text}"
        self.joined = f"{self.joined},{piece}" if self.joined else piece

    def _make_room(self, name: str) -> None:
        """Forget the value of that name, or the oldest."""
        if name in self:
            del self[name]
            self.joined = ",".join(_encoded(*entry) for entry in self.items())
        else:
            oldest = next(iter(self))
            self.joined = self.joined[len(_encoded(oldest, self.pop(oldest))) + 1 :]


def _encoded(name: str, seconds: float) -> str:
    return f"{quoted(name)}:{seconds:.6f}"


def newest(by_step: Mapping[str, _Value], most: int) -> dict[str, _Value]:
    """So many of the entries that were set last."""
    return dict(islice(by_step.items(), max(0, len(by_step) - most), None))
