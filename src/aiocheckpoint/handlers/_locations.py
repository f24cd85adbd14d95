"""The location of a run in a store of many flows: a text for people, which can be read back."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

__all__ = ["format_location", "parse_location"]

_TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_LOCATION = re.compile(
    rf"(?P<place>.+) \(flow (?P<flow>{_TEXT})(?:, run (?P<run>{_TEXT}))?\)", re.DOTALL
)


class Location(NamedTuple):
    """Where a run is stored.

    Attributes:
        place: The path or URL of the store.
        flow: Name of the flow.
        run_id: The run, or None.
    """

    place: str
    flow: str
    run_id: str | None


def format_location(place: str, flow: str, run_id: str | None) -> str:
    """Name the location of a run."""
    run = "" if run_id is None else f", run {run_id!r}"
    return f"{place} (flow {flow!r}{run})"


def parse_location(text: str) -> Location | None:
    """Read what `format_location` has made. None for any other text."""
    found = _LOCATION.fullmatch(text)
    if found is None:
        return None
    run_id = None if found["run"] is None else ast.literal_eval(found["run"])
    return Location(found["place"], ast.literal_eval(found["flow"]), run_id)
