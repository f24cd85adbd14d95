"""The root of all errors of this library."""

from __future__ import annotations

from typing import Any

__all__ = ["CheckpointError", "revive"]


def revive(kind: type[CheckpointError], text: str, facts: dict[str, Any]) -> CheckpointError:
    """Rebuild an error from its pickle."""
    error = kind.__new__(kind)
    error.args = (text,)
    for name, value in facts.items():
        setattr(error, name, value)
    return error


class CheckpointError(Exception):
    """The root of all errors of this library."""

    def __str__(self) -> str:
        """The message, also where a built-in error is a second base."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the text and the attributes, without calling the constructor."""
        return revive, (type(self), str(self), self._facts())

    def _facts(self) -> dict[str, Any]:
        return dict(self.__dict__)
