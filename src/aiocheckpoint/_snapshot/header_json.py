"""The header of a snapshot as JSON: written fast, read with every value checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Literal, get_args

from aiocheckpoint._model.header import Failure, Header, Status
from aiocheckpoint._model.step_names import StepNamesExcerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HeaderEncoder", "decode_header", "encode_header"]


class HeaderEncoder:
    """Encodes the headers of one run, which have most of their text in common.

    A header is encoded after every step. `json` would take seven times as long, and the durations
    of 100 steps longer still.
    """

    __slots__ = ("_durations", "_fixed")

    def __init__(self) -> None:
        self._fixed: tuple[tuple[object, ...], str] = (), ""
        self._durations = _NO_DURATIONS

    def encode(self, header: Header) -> bytes:
        """The header as ASCII JSON: one object with a key for each attribute up to `started_at`.

        The value of `steps` is a list of names, null, or the excerpt as an object.
        """
        optional = _NO_OPTIONAL
        if header.failure is not None or header.pause is not None or header.attempts:
            optional = _encode_optional(header)
        if header.excerpt is not None:
            optional = f'"steps":{_encode_excerpt(header.excerpt)},{optional}'
        return (
            f'{self._encode_fixed(header)},"sequence":{header.sequence},'
            f'"position":{header.position},'
            f'"status":"{header.status}","code":{"true" if header.code else "false"},'
            f'"holds_data":{"true" if header.holds_data else "false"},'
            f'"written_at":{header.written_at!r},{optional},'
            f'"durations":{{{self._encode_durations(header.durations)}}}}}'
        ).encode()

    def _encode_fixed(self, header: Header) -> str:
        """Encode the part that stays the same for a whole run."""
        key = (
            "excerpt" if header.excerpt is not None else header.steps,
            header.python,
            header.dill,
            header.library,
            header.flow,
            header.run_id,
            header.number,
            header.started_at,
        )
        known, text = self._fixed
        if key != known:
            run_id = "null" if header.run_id is None else quoted(header.run_id)
            text = (
                f'{{"flow":{quoted(header.flow)},"run_id":{run_id},"number":{header.number},'
                f'{_encode_common(*key[:4])},"started_at":{header.started_at!r}'
            )
            self._fixed = key, text
        return text

    def _encode_durations(self, durations: dict[str, float]) -> str:
        """Encode the durations. Only entries added since the last call are formatted."""
        names, seconds = list(durations), list(durations.values())
        known_names, known_seconds, text = self._durations
        older_names, older_seconds = names[:-1], seconds[:-1]
        if text and older_names == known_names and older_seconds == known_seconds:
            text += f",{quoted(names[-1])}:{seconds[-1]:.6f}"  # as after every step
        elif names == known_names and seconds == known_seconds:
            return text
        elif len(names) > 1 and (older_names, older_seconds) == (
            known_names[1:],
            known_seconds[1:],
        ):
            # The oldest entry gave way to a new one.
            oldest = _encode_duration(known_names[0], known_seconds[0])
            text = f"{text[len(oldest) + 1 :]},{_encode_duration(names[-1], seconds[-1])}"
        else:
            text = ",".join(map(_encode_duration, names, seconds))
        # Assigned at once, so that Ctrl-C cannot leave a half-made record.
        self._durations = names, seconds, text
        return text


def encode_header(header: Header) -> bytes:
    """Encode one header, see `HeaderEncoder.encode`."""
    return HeaderEncoder().encode(header)


def decode_header(encoded: bytes) -> Header:
    """Read an encoded header. Keys that a later version added are skipped.

    Raises:
        ValueError: The bytes are no header.
        OverflowError: A number of seconds is larger than any float.
        RecursionError: The JSON is nested too deeply for a header.
    """
    values = _completed(_DECODER.decode(encoded.decode()), _TYPES, _OLD_HEADER_DEFAULTS)
    known = {name: values[name] for name in _TYPES}
    known |= _decoded_steps(known["steps"])
    failure = known["failure"]
    if failure is not None:
        failure = _completed(failure, _FAILURE_TYPES, _OLD_HEADER_DEFAULTS)
        known["failure"] = Failure(**{name: failure[name] for name in _FAILURE_TYPES})
    _check_all(known["durations"].values(), _NUMBER)
    _check_all(known["attempts"].values(), int)
    known["durations"] = {
        name: round(float(value), 6) for name, value in known["durations"].items()
    }
    if known["position"] < 0 or known["status"] not in get_args(Status):
        raise ValueError(known["position"], known["status"])
    return Header(**known)


_NO_DURATIONS: tuple[list[str], list[float], str] = [], [], ""


def _encode_duration(name: str, seconds: float) -> str:
    return f"{quoted(name)}:{seconds:.6f}"


def _encode_optional(header: Header) -> str:
    """The keys that have no value in most headers."""
    failure = None if header.failure is None else asdict(header.failure)
    values = {"failure": failure, "pause": header.pause, "attempts": header.attempts}
    return _ENCODER.encode(values)[1:-1]


_Types = type | tuple[type, ...]
_NUMBER = (int, float)
_TYPES: dict[str, _Types] = {
    "flow": str,
    "position": int,
    "run_id": (str, type(None)),
    "number": int,
    "sequence": int,
    "steps": (list, dict, type(None)),
    "status": str,
    "failure": (dict, type(None)),
    "pause": (str, type(None)),
    "attempts": dict,
    "durations": dict,
    "holds_data": bool,
    "code": bool,
    "python": str,
    "dill": str,
    "library": str,
    "written_at": _NUMBER,
    "started_at": _NUMBER,
}
_FAILURE_TYPES: dict[str, _Types] = {
    **dict.fromkeys(("step", "part", "type", "message", "traceback"), str),
    **dict.fromkeys(("at", "seconds"), _NUMBER),
    "attempt": int,
}
_EXCERPT_TYPES: dict[str, _Types] = {
    **dict.fromkeys(("count", "begin", "done"), int),
    "names": list,
    **dict.fromkeys(("before", "whole"), str),
}
_OLD_HEADER_DEFAULTS: dict[str, Any] = {
    "started_at": 0.0,
    "attempt": 1,
    "pause": None,
    "attempts": {},
    "holds_data": False,
}
"""Defaults of keys that early headers lack."""


def _completed(
    values: object, types: Mapping[str, _Types], defaults: dict[str, Any]
) -> dict[str, Any]:
    """Raise ValueError unless `values` has a value of the right type under each name."""
    if not isinstance(values, dict):
        raise ValueError("no object")  # noqa: TRY004 - the file is wrong, not the program
    values = {**defaults, **values}
    for name, kind in types.items():
        if name not in values or not isinstance(values[name], kind):
            raise ValueError(name)
        if kind is int and isinstance(values[name], bool):  # bool is a subclass of int
            raise ValueError(name)
    return values


def _decoded_steps(steps: list[str] | dict[str, Any] | None) -> dict[str, Any]:
    """The attributes that the value of the key `steps` stands for."""
    if steps is None:
        return {}
    if isinstance(steps, list):
        _check_all(steps, str)
        return {"steps": tuple(steps)}
    values = _completed(steps, _EXCERPT_TYPES, {})
    _check_all(values["names"], str)
    if not 0 <= values["begin"] <= values["done"] <= values["count"]:
        raise ValueError("steps")
    known = {name: values[name] for name in _EXCERPT_TYPES}
    known["names"] = tuple(values["names"])
    return {"steps": None, "excerpt": StepNamesExcerpt(**known)}


def _finite(text: str) -> float:
    """Read a finite number. JSON has no other, and Python's reader takes NaN and Infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _check_all(values: Iterable[object], kind: _Types) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise ValueError(kind)


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_NO_OPTIONAL = '"failure":null,"pause":null,"attempts":{}'


@lru_cache
def _encode_common(
    steps: tuple[str, ...] | Literal["excerpt"] | None, python: str, dill: str, library: str
) -> str:
    """The text that the headers of all runs of a flow have in common."""
    values = {"steps": steps, "python": python, "dill": dill, "library": library}
    if steps == "excerpt":  # it changes at every step, and so is encoded apart
        del values["steps"]
    return _ENCODER.encode(values)[1:-1]


def _encode_excerpt(excerpt: StepNamesExcerpt) -> str:
    return (
        f'{{"count":{excerpt.count},"begin":{excerpt.begin},'
        f'"names":[{",".join(map(quoted, excerpt.names))}],"done":{excerpt.done},'
        f'"before":"{excerpt.before}","whole":"{excerpt.whole}"}}'
    )
