"""Pickles of records that an earlier version made, which lack the newest fields."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["loads_older"]

_Record = TypeVar("_Record")


def loads_older(kind: type[_Record]) -> type[_Record]:
    """Let a frozen dataclass with slots load older pickles: new fields get their defaults.

    Such a class pickles the list of its values in the order of its fields. New fields stand last.
    """
    kind.__setstate__ = _set_values  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    return kind


def _set_values(record: Any, values: Sequence[object]) -> None:  # noqa: ANN401 - any record
    known = fields(record)
    for field, value in zip(known, values, strict=False):
        object.__setattr__(record, field.name, value)
    for field in known[len(values) :]:
        made = field.default if field.default_factory is MISSING else field.default_factory()
        object.__setattr__(record, field.name, made)
