"""Ids of runs on standard input: plain, or in the JSON records that other commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ids_of"]


def ids_of(lines: Iterable[str]) -> Iterator[str | None]:
    r"""Give the ids of lines: one plain id in each, or a JSON object with "run_id".

    Only JSON can hold an id with a line end in it, and one that begins with "{".

    Args:
        lines: The lines, with their line ends. Empty ones are passed over.

    Yields:
        The ids. None for the run without an id, which is null in JSON.

    Raises:
        UsageProblem: A line begins with "{", and is no such object.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text.startswith("{"):
            yield _id_of_record(text, number)
        elif text:
            yield text


def _id_of_record(text: str, number: int) -> str | None:
    record: Any
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and "run_id" in record:
        run_id: Any = record["run_id"]
        if run_id is None or isinstance(run_id, str):
            return run_id
    raise UsageProblem(
        f'line {number} of standard input is no JSON object with a "run_id". Give plain ids, one a '
        "line, or the records of --output jsonl."
    )
