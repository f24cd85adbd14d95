"""What can be read of a snapshot without unpickling it: who, where, when, how far, what broke."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Literal, get_args

from aiocheckpoint._model.durations import Durations
from aiocheckpoint._model.record import Record
from aiocheckpoint._model.step_names import StepNamesExcerpt, max_recorded
from aiocheckpoint._snapshot.pickling.serializer import DILL_VERSION
from aiocheckpoint._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiocheckpoint._model.step_names import StepNames

__all__ = ["Failure", "Header", "Status", "as_json_round_trip"]

Status = Literal["running", "stopped", "paused", "failed", "cancelled", "finished"]
"""How a run stands: under way or killed; stopped by `until=`, by draining or a hand; paused by a
step; broken; cancelled; done."""

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Failure(Record):
    """What broke a run, as text.

    Attributes:
        step: Name of the step that was under way.
        part: "load", "step", "save" or "snapshot".
        type: Qualified name of the exception's class.
        message: `str()` of the exception.
        traceback: The formatted traceback.
        at: Seconds since the epoch.
        seconds: How long the step had been running.
        attempt: Which attempt of this run at the step it was, counting from 1 those that the
            checkpoint tells of; a killed process leaves no account.
    """

    step: str
    part: str
    type: str
    message: str
    traceback: str
    at: float
    seconds: float
    attempt: int = 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Header(Record):
    """The readable part of a snapshot.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None for the only run of a flow.
        number: Counts the runs that began anew in this place, from 1; 0 where unknown.
        sequence: Counts the snapshots written in this place, from 1; 0 where unknown.
        steps: Names of the flow's steps; None where not all are known, because it is a gumly file
            or a dict handler's, or because there are more than 100.
        excerpt: What is known of the steps where there are more than 100, else None.
        position: Index of the step at which the next run starts.
        status: How the run stands.
        failure: What broke it, or None; while it is running, what broke the attempt before.
        pause: The reason that a step gave for pausing it, or None.
        attempts: How many attempts each step of this run took, by name, where it was more than
            one; of a flow of more than 100 steps, the newest 20 of them.
        durations: Seconds that each finished step of this run took, by name: loader, step and
            saver together; of a flow of more than 100 steps, the newest 20 of them.
        holds_data: Whether the payload holds `data` beside the state, as `keep_data=True` has it.
        code: Whether the payload holds functions or classes by value.
        python: Version of the Python that wrote the payload, "" where unknown.
        dill: Version of dill that wrote it, "" where unknown.
        library: Version of aiocheckpoint that wrote it, "" where unknown.
        written_at: Seconds since the epoch.
        started_at: When the run began at its first step, in seconds since the epoch; 0.0 where
            unknown.
        signed_by: Id of the secret that the snapshot is signed with, 16 hexadecimal digits, or
            None. It stands beside the header, and was verified only by a reader with a secret.
        sizes: Bytes of the state's values as they are stored, by key; what several share counts
            for the first. Only `aiocheckpoint.inspect` tells them; None elsewhere.
        owner: The process that the run is under way in, such as "process 12 on web-1", or None.
            Only the lists of a handler with leases tell it; it may have been killed since.
        fixed: The part of the encoded header that stays the same for a whole run, once it was
            needed.
    """

    flow: str
    position: int
    run_id: str | None = None
    number: int = 0
    sequence: int = 0
    steps: tuple[str, ...] | None = None
    excerpt: StepNamesExcerpt | None = None
    status: Status = "running"
    failure: Failure | None = None
    pause: str | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    durations: Durations
    holds_data: bool = False
    code: bool = False
    python: str = PYTHON_VERSION
    dill: str = DILL_VERSION
    library: str = __version__
    written_at: float = 0.0
    started_at: float = 0.0
    signed_by: str | None = None
    sizes: Mapping[str, int] | None = None
    owner: str | None = None
    fixed: str = field(default="", init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """The header as ASCII JSON: one object with a key for each attribute up to `started_at`.

        The key `steps` has a list of names, null, or, as an object, the excerpt.
        """
        fixed = self.fixed or self._encode_fixed()
        rare = _NOTHING_RARE
        if self.failure is not None or self.pause is not None or self.attempts:
            rare = self._encode_rare()
        if self.excerpt is not None:
            rare = f'"steps":{_encode_excerpt(self.excerpt)},{rare}'
        return (
            f'{fixed},"sequence":{self.sequence},"position":{self.position},'
            f'"status":"{self.status}","code":{"true" if self.code else "false"},'
            f'"holds_data":{"true" if self.holds_data else "false"},'
            f'"written_at":{self.written_at!r},{rare},'
            f'"durations":{{{self.durations.joined}}}}}'
        ).encode()

    def _encode_rare(self) -> str:
        """What most snapshots say nothing of."""
        failure = None if self.failure is None else asdict(self.failure)
        facts = {"failure": failure, "pause": self.pause, "attempts": self.attempts}
        return _ENCODER.encode(facts)[1:-1]

    def _encode_fixed(self) -> str:
        run_id = "null" if self.run_id is None else quoted(self.run_id)
        steps = "excerpt" if self.excerpt is not None else self.steps
        common = _encode_common(steps, self.python, self.dill, self.library)
        return (
            f'{{"flow":{quoted(self.flow)},"run_id":{run_id},"number":{self.number},'
            f'{common},"started_at":{self.started_at!r}'
        )

    @classmethod
    def from_trusted(cls, facts: dict[str, Any]) -> Header:
        """A header with all attributes given, not checked, in a third of the usual time."""
        header = object.__new__(cls)
        object.__setattr__(header, "__dict__", facts)
        return header

    @classmethod
    def decode(cls, encoded: bytes) -> Header:
        """Read what `encode` wrote, passing over keys that a later version added.

        Raises:
            ValueError: The bytes are no such header.
            OverflowError: A number of seconds is larger than any float.
            RecursionError: They are nested too deeply to be one.
        """
        facts = _completed(_DECODER.decode(encoded.decode()), _TYPES, _LATER)
        known = {name: facts[name] for name in _TYPES}
        known |= _decoded_steps(known["steps"])
        failure = known["failure"]
        if failure is not None:
            failure = _completed(failure, _FAILURE_TYPES, _LATER)
            known["failure"] = Failure(**{name: failure[name] for name in _FAILURE_TYPES})
        _check_all(known["durations"].values(), (int, float))
        _check_all(known["attempts"].values(), int)
        known["durations"] = Durations(known["durations"])
        if known["position"] < 0 or known["status"] not in get_args(Status):
            raise ValueError(known["position"], known["status"])
        return cls(**known)

    @classmethod
    def without_names(cls, flow: str, run_id: str | None, position: int) -> Header:
        """The header of a state that came without one: only the position is known."""
        status: Status = "stopped" if position else "finished"
        return cls(
            flow=flow,
            run_id=run_id,
            position=position,
            status=status,
            durations=Durations(),
            python="",
            dill="",
            library="",
        )

    @property
    def finished(self) -> bool:
        """Whether the next run begins at the first step with a state of its own."""
        return self.status == "finished"

    @property
    def next_step(self) -> str | None:
        """Name of the step on entry to which the state was like this, None where there is none."""
        if self.finished:
            return None
        if self.excerpt is not None:
            return self.excerpt.name(self.position)
        if self.steps is None or self.position >= len(self.steps):
            return None
        return self.steps[self.position]

    def is_at(self, names: StepNames, index: int) -> bool:
        """Whether the state was like this on entry to that step of a flow."""
        entered = self.next_step
        if entered is None and self.excerpt is not None and not self.finished:
            return self.position == index and self.excerpt.matches(names)  # it was moved by hand
        return entered is not None and names.all[index : index + 1] == (entered,)

    def matches(self, names: StepNames) -> bool:
        """Whether all steps of a flow are called as those of this run, as far as they are known."""
        if self.excerpt is not None:
            return self.excerpt.matches(names)
        return self.steps is None or self.steps == names.all

    def matches_prefix(self, names: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow are called as those of this run."""
        if self.excerpt is not None:
            return self.excerpt.matches_prefix(names, first)
        # Of what gumly wrote the index is all there is.
        same = self.steps is None or self.steps[:first] == names.all[:first]
        return same and first <= len(names.all)

    def record_attempt(self, step: str, number: int) -> None:
        """Note that a step is at that attempt, and forget the oldest of what are too many."""
        self.attempts.pop(step, None)
        self.attempts[step] = number
        if len(self.attempts) > max_recorded(self.excerpt):
            del self.attempts[next(iter(self.attempts))]

    def next(
        self, status: Status, position: int, written_at: float, excerpt: StepNamesExcerpt | None
    ) -> Header:
        """The header of the next snapshot, made by this program in every step, hence quickly."""
        facts = self.__dict__.copy()
        facts["status"], facts["position"], facts["excerpt"] = status, position, excerpt
        facts["sequence"], facts["written_at"] = self.sequence + 1, written_at
        if self.failure is not None or self.pause is not None:
            facts["failure"] = facts["pause"] = None
        if not self.fixed:
            facts["fixed"] = self._encode_fixed()
        return self.from_trusted(facts)

    def by_this_program(self, **changes: Any) -> Header:  # noqa: ANN401 - fields of many types
        """A copy with `changes`, and the versions of this program."""
        return replace(
            self, python=PYTHON_VERSION, dill=DILL_VERSION, library=__version__, **changes
        )


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
_LATER: dict[str, Any] = {
    "started_at": 0.0,
    "attempt": 1,
    "pause": None,
    "attempts": {},
    "holds_data": False,
}
"""What the first headers did not tell."""


def _completed(facts: object, types: Mapping[str, _Types], later: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError unless `facts` has a value of the right type under each name."""
    if not isinstance(facts, dict):
        raise ValueError("no object")  # noqa: TRY004 - the file is wrong, not the program
    facts = {**later, **facts}
    for name, kind in types.items():
        if name not in facts or not isinstance(facts[name], kind):
            raise ValueError(name)
        if kind is int and isinstance(facts[name], bool):  # which to Python is an int
            raise ValueError(name)
    return facts


def _decoded_steps(steps: list[str] | dict[str, Any] | None) -> dict[str, Any]:
    """What the key of the names says of them, by attribute."""
    if steps is None:
        return {}
    if isinstance(steps, list):
        _check_all(steps, str)
        return {"steps": tuple(steps)}
    facts = _completed(steps, _EXCERPT_TYPES, {})
    _check_all(facts["names"], str)
    if not 0 <= facts["begin"] <= facts["done"] <= facts["count"]:
        raise ValueError("steps")
    known = {name: facts[name] for name in _EXCERPT_TYPES}
    known["names"] = tuple(facts["names"])
    return {"steps": None, "excerpt": StepNamesExcerpt(**known)}


def _finite(text: str) -> float:
    """Read a number, which JSON knows as a finite one alone, and Python's reader does not."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _check_all(values: Iterable[object], kind: _Types) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise ValueError(kind)


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_NOTHING_RARE = '"failure":null,"pause":null,"attempts":{}'


@lru_cache
def _encode_common(
    steps: tuple[str, ...] | Literal["excerpt"] | None, python: str, dill: str, library: str
) -> str:
    """What the headers of a flow's runs have in common."""
    facts = {"steps": steps, "python": python, "dill": dill, "library": library}
    if steps == "excerpt":  # which is another one at every step
        del facts["steps"]
    return _ENCODER.encode(facts)[1:-1]


def _encode_excerpt(excerpt: StepNamesExcerpt) -> str:
    return (
        f'{{"count":{excerpt.count},"begin":{excerpt.begin},'
        f'"names":[{",".join(map(quoted, excerpt.names))}],"done":{excerpt.done},'
        f'"before":"{excerpt.before}","whole":"{excerpt.whole}"}}'
    )


def as_json_round_trip(text: str | None) -> str | None:
    """Give `text` as it comes back from a header: JSON joins two surrogates to one character."""
    return text if text is None or text.isascii() else json.loads(json.dumps(text))
