"""The `with` block of objects that have a `close`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ClosedAtEnd"]


class ClosedAtEnd(ABC):
    """The base of objects that are closed at the end of a `with` block."""

    def __enter__(self) -> Self:
        """Give the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, whether the block raised or not."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""
