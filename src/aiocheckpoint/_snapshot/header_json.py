"""The header of a snapshot as JSON: written fast, read with every value checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from aiocheckpoint._model.header import Failure, Header, Status
from aiocheckpoint._model.step_names import StepNamesExcerpt
from aiocheckpoint._snapshot.growing_entries import GrowingEntries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HeaderEncoder", "decode_header", "encode_header"]


class HeaderEncoder:
    """Encodes the headers of one run, or of new ones, which have most of their text in common.

    A header is encoded after every step. `json` would take seven times as long, and the durations
    of 100 steps longer still.
    """

    __slots__ = ("_digests", "_durations", "_fixed", "_snapshots", "_time")

    def __init__(self) -> None:
        self._fixed: tuple[tuple[object, ...], str] = (), ""
        self._digests: tuple[dict[str, str] | None, str] = None, ""
        self._durations = GrowingEntries(_encode_duration)
        self._snapshots = GrowingEntries(_encode_snapshot)
        self._time: tuple[float | None, str] = None, ""

    def encode(self, header: Header) -> bytes:
        """The header as ASCII JSON: one object with a key for each attribute up to `started_at`.

        The value of `steps` is a list of names, null, or the excerpt as an object. Digests that
        are None or empty have no key, nor has a `stopped_by`, `due`, `terminated_by`,
        `termination`, `actor` or `trace` of None, a `pause_number` of 0, a `version` of 0 or an
        empty `expected`.

        A status that releases before 0.6 do not know has the key `status_now`, and they read
        `status`: a word that their recovery leaves alone.
        """
        optional = _NO_OPTIONAL
        if header.failure is not None or header.pause is not None or header.attempts:
            optional = _encode_optional(header)
        if header.stopped_by is not None:
            optional += f',"stopped_by":{quoted(header.stopped_by)}'
        if header.pause_number:
            optional += f',"pause_number":{header.pause_number}'
        status: str = header.status
        if status in _NEW_STATUSES:
            optional += f',"status_now":"{status}"'
            status = _OLD_STATUS
        if header.due is not None or header.terminated_by is not None:
            optional += _encode_ending(header)
        if header.actor is not None:
            optional += f',"actor":{quoted(header.actor)}'
        # While steps go on fast, writing the costs of snapshots would take long beside a snapshot.
        if header.snapshots and (
            header.status != "running"
            or next(reversed(header.snapshots.values()))[1] >= _SLOW_SECONDS
        ):
            optional += f',"snapshots":{{{self._snapshots.text(header.snapshots)}}}'
        if header.excerpt is not None:
            excerpt = _encode_excerpt(header.excerpt)
            optional = f'"steps":{excerpt}{_encode_digests(header.step_digests)},{optional}'
        return (
            f'{self._encode_fixed(header)},"sequence":{header.sequence},'
            f'"position":{header.position},'
            f'"status":"{status}","code":{"true" if header.code else "false"},'
            f'"holds_data":{"true" if header.holds_data else "false"},'
            f'"written_at":{self._encode_time(header.written_at)},{optional},'
            f'"durations":{{{self._durations.text(header.durations)}}}}}'
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
            header.initial_digest,
            header.trace,
            None if header.excerpt is not None else header.step_digests,
            header.version,
            header.expected,
        )  # The headers of a run share both dicts. Comparing one with itself takes no time.
        known, text = self._fixed
        if key != known:
            run_id = "null" if header.run_id is None else quoted(header.run_id)
            text = (
                f'{{"flow":{quoted(header.flow)},"run_id":{run_id},"number":{header.number},'
                f'{_encode_common(*key[:4])},"started_at":{self._encode_time(header.started_at)}'
            )
            if header.version:
                text += f',"version":{header.version}'
            if header.initial_digest is not None:
                text += f',"initial_digest":{quoted(header.initial_digest)}'
            if header.trace is not None:
                text += f',"trace":{quoted(header.trace)}'
            if header.expected:
                text += f',"expected":{{{_encode_expected(header.expected)}}}'
            if header.excerpt is None:
                text += self._encode_digests(header.step_digests)
            self._fixed = key, text
        return text

    def _encode_digests(self, digests: dict[str, str]) -> str:
        """Encode the digests, which never change, unless the header has an excerpt."""
        known, text = self._digests
        if digests is not known:
            text = _encode_digests(digests)
            self._digests = digests, text
        return text

    def _encode_time(self, seconds: float) -> str:
        """Encode a time. The first snapshot of a run was written when the run started."""
        known, text = self._time
        if seconds != known:
            text = repr(seconds)
            self._time = seconds, text
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
    _check_all(known["step_digests"].values(), str)
    known["durations"] = {
        name: round(float(value), 6) for name, value in known["durations"].items()
    }
    _check_all(known["expected"].values(), _NUMBER)
    known["expected"] = {name: round(float(value), 3) for name, value in known["expected"].items()}
    known["snapshots"] = {name: _decode_snapshot(cost) for name, cost in known["snapshots"].items()}
    if values.get("status_now") in _NEW_STATUSES:
        known["status"] = values["status_now"]
    numbers = known["position"], known["version"]
    if min(numbers) < 0 or known["status"] not in get_args(Status):
        raise ValueError(*numbers, known["status"])
    return Header(**known)


_NEW_STATUSES = frozenset({"queued", "terminated"})
"""The statuses that releases before 0.6 do not know."""

_OLD_STATUS = "paused"
"""What releases before 0.6 read for them. Their recovery skips paused runs."""

_SLOW_SECONDS = 0.001
"""The costs of 20 snapshots are 400 bytes more, which shows beside a snapshot faster than this."""


def _encode_duration(name: str, seconds: float) -> str:
    return f"{quoted(name)}:{seconds:.6f}"


def _encode_expected(expected: dict[str, float]) -> str:
    return ",".join(f"{quoted(name)}:{seconds:.3f}" for name, seconds in expected.items())


def _encode_snapshot(name: str, cost: tuple[int, float]) -> str:
    """Encode bytes and microseconds, which are short numbers."""
    size, seconds = cost
    return f"{quoted(name)}:[{size},{round(seconds * 1e6)}]"


def _decode_snapshot(cost: object) -> tuple[int, float]:
    if isinstance(cost, list):
        values = cast("list[object]", cost)
        if [type(value) for value in values] == [int, int]:  # bool is a subclass of int
            size, microseconds = cast("list[int]", values)
            return size, microseconds / 1e6
    raise ValueError(cost)


def _encode_optional(header: Header) -> str:
    """The keys that have no value in most headers."""
    failure = None if header.failure is None else asdict(header.failure)
    values = {"failure": failure, "pause": header.pause, "attempts": header.attempts}
    return _ENCODER.encode(values)[1:-1]


def _encode_ending(header: Header) -> str:
    """The keys of a run that is due at a time, or was terminated, each behind a comma."""
    values = {
        "due": header.due,
        "terminated_by": header.terminated_by,
        "termination": header.termination,
    }
    return f",{_ENCODER.encode({key: one for key, one in values.items() if one is not None})[1:-1]}"


_Types = type | tuple[type, ...]
_NUMBER = (int, float)
_TYPES: dict[str, _Types] = {
    "flow": str,
    "position": int,
    "run_id": (str, type(None)),
    "number": int,
    "sequence": int,
    "version": int,
    "steps": (list, dict, type(None)),
    "status": str,
    "failure": (dict, type(None)),
    "pause": (str, type(None)),
    "pause_number": int,
    "stopped_by": (str, type(None)),
    "due": (*_NUMBER, type(None)),
    "terminated_by": (str, type(None)),
    "termination": (str, type(None)),
    "actor": (str, type(None)),
    "trace": (str, type(None)),
    "attempts": dict,
    "initial_digest": (str, type(None)),
    "step_digests": dict,
    "durations": dict,
    "expected": dict,
    "snapshots": dict,
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
    "actor": None,
    "trace": None,
    "pause_number": 0,
    "stopped_by": None,
    "due": None,
    "terminated_by": None,
    "termination": None,
    "attempts": {},
    "expected": {},
    "snapshots": {},
    "version": 0,
    "initial_digest": None,
    "step_digests": {},
    "holds_data": False,
}
"""Defaults of keys that early headers, or headers without a value, lack."""


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
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(kind)  # noqa: TRY004 - the file is wrong, not the program


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


def _encode_digests(step_digests: dict[str, str]) -> str:
    """The key of the digests of steps, behind a comma, or nothing where there are none."""
    entries = ",".join(f"{quoted(name)}:{quoted(one)}" for name, one in step_digests.items())
    return f',"step_digests":{{{entries}}}' if entries else ""


def _encode_excerpt(excerpt: StepNamesExcerpt) -> str:
    return (
        f'{{"count":{excerpt.count},"begin":{excerpt.begin},'
        f'"names":[{",".join(map(quoted, excerpt.names))}],"done":{excerpt.done},'
        f'"before":"{excerpt.before}","whole":"{excerpt.whole}"}}'
    )
