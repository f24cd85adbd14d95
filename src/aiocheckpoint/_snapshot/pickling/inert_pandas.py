"""Tables and series of pandas in an inert tree: their shapes, from the lengths of their axes."""

from __future__ import annotations

from typing import Any

from aiocheckpoint._snapshot.pickling.inert_numpy import array_of
from aiocheckpoint._snapshot.pickling.inert_values import Known, Placeholder

__all__ = ["frame_of", "series_of"]


def frame_of(found: Placeholder) -> Known | None:
    """A table: rows and columns."""
    match found:
        case Placeholder(state={"_mgr": Placeholder(args=(_, [columns, rows], *_))}):
            return _shaped("pandas.DataFrame", found, rows, columns)
        case _:
            return None


def series_of(found: Placeholder) -> Known | None:
    """A series: its length."""
    match found:
        case Placeholder(state={"_mgr": Placeholder(state=([rows], *_))}):
            return _shaped("pandas.Series", found, rows)
        case _:
            return None


def _shaped(name: str, found: Placeholder, *axes: Any) -> Known | None:  # noqa: ANN401
    lengths = [_length(axis) for axis in axes]
    if None in lengths:
        return None
    return Known(name, {"shape": lengths}, (found.args, found.state))


def _length(axis: Any) -> int | None:  # noqa: ANN401 - an inert tree
    match axis:
        case Placeholder(args=(_, {"start": int(start), "stop": int(stop), "step": int(step)})):
            return len(range(start, stop, step))
        case Placeholder(args=(_, {"data": data})):
            return _length_of_array(data)
        case Placeholder(args=(_, {"codes": [codes, *_]})):
            return _length_of_array(codes)
        case _:
            return None


def _length_of_array(data: Any) -> int | None:  # noqa: ANN401
    """The length of an array, or of the one that another object is made of."""
    if not isinstance(data, Placeholder):
        return None
    if isinstance(data.state, dict) and "_pa_array" in data.state:  # Texts, where pyarrow is there.
        return _length_of_arrow(data.state["_pa_array"])
    parts = data.state if type(data.state) is tuple else ()
    for part in (data, *parts):
        known = array_of(part) if isinstance(part, Placeholder) else None
        if known is not None and known.facts["shape"]:
            return int(known.facts["shape"][0])
    return None


def _length_of_arrow(data: Any) -> int | None:  # noqa: ANN401
    """The length of an array of pyarrow, which may be in chunks."""
    match data:
        case Placeholder(args=((_, int(length), int(_), int(_), *_),)):
            return length
        case Placeholder(args=([*chunks], _)):
            lengths = [_length_of_arrow(chunk) for chunk in chunks]
            return None if None in lengths else sum(filter(None, lengths))
        case _:
            return None
