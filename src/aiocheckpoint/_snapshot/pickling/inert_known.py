"""Well-known objects of an inert tree, told by their names and shown by what they are.

Nothing is imported for them: the text of a date is made of the bytes in the stream, and of an array
the type and the shape are known.

A new type is a line in `_READERS`, with a reader that takes its placeholder. Where it is pickled
with a function, that function is a line in `_MADE_BY` of `inert_calls`.
"""

from __future__ import annotations

import datetime as dt
import struct
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_numpy import array_of, scalar_of
from aiocheckpoint._snapshot.pickling.inert_pandas import frame_of, series_of
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, Known, Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["recognize", "type_name"]

_LONGEST, _LONGEST_TOGETHER = 1_000, 10_000
_ZONES = ("datetime.timezone", "zoneinfo.ZoneInfo")


def recognize(found: Placeholder) -> Known | None:
    """What is known of an object. None for any other, and for one that only has such a name."""
    reader = _READERS.get(found.type) if found.kind == "object" else None
    if reader is None:
        return None
    try:
        return reader(found)
    except (
        ValueError,
        OverflowError,
        TypeError,
        LookupError,
        struct.error,
    ):  # It is no such object.
        return None


def type_name(tree: Any) -> str:  # noqa: ANN401 - an inert tree
    """Name of the type of a value, such as "int", "datetime.date", "shop.Place" or "global"."""
    if not isinstance(tree, Placeholder):
        return "None" if tree is None else type(tree).__name__
    if tree.kind == "object":
        known = recognize(tree)
        return tree.type if known is None else known.type
    return "global" if tree.kind == "global" else tree.type


def _by_args(
    name: str, text_of: Callable[..., str | None]
) -> Callable[[Placeholder], Known | None]:
    """A reader of objects that are all in the arguments of their call."""

    def read(found: Placeholder) -> Known | None:
        parts = (found.state, found.items, found.entries)
        if any(part is not MISSING for part in parts) or not _are_short(found.args):
            return None
        text = text_of(*found.args)
        return None if text is None else Known(name, {"value": text})

    return read


def _are_short(args: Any) -> bool:  # noqa: ANN401
    """Whether a text can be made of these arguments in little time."""
    if type(args) is not tuple or len(args) > _LONGEST:
        return False
    together = 0
    for arg in args:
        length = _length(arg)
        together += length
        if length > _LONGEST or together > _LONGEST_TOGETHER:
            return False
    return True


def _length(arg: Any) -> int:  # noqa: ANN401
    kind = type(arg)
    if kind is str or kind is bytes:
        return len(arg)
    return int(arg.bit_length()) if kind is int else 0


def _zone(zone: Any) -> str | None:  # noqa: ANN401 - an inert tree
    if zone is None:
        return ""
    if not isinstance(zone, Placeholder) or zone.type not in _ZONES:
        return None
    known = recognize(zone)
    if known is None:
        return None
    text = str(known.facts["value"])
    return text if known.type == "datetime.timezone" else f"[{text}]"


def _fold(fold: int) -> str:
    return " fold=1" if fold else ""


def _datetime(content: bytes, zone: Any = None) -> str | None:  # noqa: ANN401
    """The ten bytes of a date and time, as `datetime` pickles them."""
    shown = _zone(zone)
    if type(content) is not bytes or len(content) != 10 or shown is None:  # noqa: PLR2004 - see above
        return None
    year, (month, day, hour, minute, second) = int.from_bytes(content[:2], "big"), content[2:7]
    micro = int.from_bytes(content[7:], "big")
    moment = dt.datetime(year, month & 127, day, hour, minute, second, micro)  # noqa: DTZ001
    return f"{moment.isoformat()}{shown}{_fold(month >> 7)}"


def _date(content: bytes) -> str | None:
    if type(content) is not bytes or len(content) != 4:  # noqa: PLR2004
        return None
    return dt.date(int.from_bytes(content[:2], "big"), content[2], content[3]).isoformat()


def _time(content: bytes, zone: Any = None) -> str | None:  # noqa: ANN401
    shown = _zone(zone)
    if type(content) is not bytes or len(content) != 6 or shown is None:  # noqa: PLR2004
        return None
    hour, minute, second = content[:3]
    micro = int.from_bytes(content[3:], "big")
    moment = dt.time(hour & 127, minute, second, micro)
    return f"{moment.isoformat()}{shown}{_fold(hour >> 7)}"


def _timedelta(days: int, seconds: int, microseconds: int) -> str:
    return str(dt.timedelta(days, seconds, microseconds))


def _timezone(offset: Any, name: str | None = None) -> str | None:  # noqa: ANN401
    if type(name) not in (str, type(None)) or not isinstance(offset, Placeholder):
        return None
    if offset.type != "datetime.timedelta" or type(offset.args) is not tuple:
        return None
    zone = dt.timezone(dt.timedelta(*offset.args))
    text = dt.time(tzinfo=zone).isoformat()[8:]
    return text if name is None else f"{text}[{name}]"


def _zoneinfo(key: str, _: Any = None) -> str | None:  # noqa: ANN401
    return key if type(key) is str else None


def _text(text: str) -> str | None:
    return text if type(text) is str else None


def _fraction(numerator: Any, denominator: Any = None) -> str | None:  # noqa: ANN401
    match numerator, denominator:
        case (str(text), None):
            return text
        case (int(), int()):
            return f"{numerator}/{denominator}"
        case _:
            return None


def _uuid(found: Placeholder) -> Known | None:
    match found:
        case Placeholder(args=(), state={"int": int(number)}) if 0 <= number < 1 << 128:
            digits = f"{number:032x}"
            parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            return Known("uuid.UUID", {"value": "-".join(parts)})
        case _:
            return None


def _path(separator: str) -> Callable[..., str | None]:
    def joined(*parts: Any) -> str | None:  # noqa: ANN401
        if not all(type(part) is str for part in parts):
            return None
        text = ""
        for part in parts:
            text += part if not text or text.endswith(separator) else separator + part
        return text or "."

    return joined


def _numbers(*numbers: Any) -> str | None:  # noqa: ANN401
    if not all(type(one) in (int, type(None)) for one in numbers):
        return None
    return ", ".join(map(str, numbers))


_DATETIMES: dict[str, Callable[..., str | None]] = {
    "datetime": _datetime,
    "date": _date,
    "time": _time,
    "timedelta": _timedelta,
    "timezone": _timezone,
}
_PATHS = {"PosixPath": "/", "PurePosixPath": "/", "WindowsPath": "\\", "PureWindowsPath": "\\"}

_READERS: dict[str, Callable[[Placeholder], Known | None]] = {
    **{f"datetime.{name}": _by_args(f"datetime.{name}", read) for name, read in _DATETIMES.items()},
    "decimal.Decimal": _by_args("decimal.Decimal", _text),
    "fractions.Fraction": _by_args("fractions.Fraction", _fraction),
    "uuid.UUID": _uuid,
    "zoneinfo.ZoneInfo": _by_args("zoneinfo.ZoneInfo", _zoneinfo),
    **{
        f"{module}.{name}": _by_args(f"pathlib.{name}", _path(separator))
        for name, separator in _PATHS.items()
        for module in ("pathlib", "pathlib._local")
    },
    "builtins.range": _by_args("range", _numbers),
    "builtins.slice": _by_args("slice", _numbers),
    "numpy.ndarray": array_of,
    "numpy.generic": scalar_of,
    **dict.fromkeys(("pandas.DataFrame", "pandas.core.frame.DataFrame"), frame_of),
    **dict.fromkeys(("pandas.Series", "pandas.core.series.Series"), series_of),
}
