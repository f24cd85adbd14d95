"""What frozen dataclasses have in common, made once."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import Field
    from typing import ClassVar

__all__ = ["Record"]


class Record:
    """Base of dataclasses with `eq=False, repr=False` that are equal, hashed and shown as usual.

    By itself `dataclass` writes these methods anew for every class and compiles them, which takes
    half of the time in which a class is made, and so a good part of `import aiocheckpoint`.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __eq__(self, other: object) -> bool:
        """Whether both are of one class, and their fields are equal."""
        if not isinstance(other, Record) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        """Made of the fields; TypeError where one of them has none."""
        return hash(self._compared())

    def __repr__(self) -> str:
        """The class with its fields, as it is called."""
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, one.name) for one in fields(self) if one.compare)
