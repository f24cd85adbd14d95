"""Processes that race for one checkpoint, and readers that look on while one is written."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lock_processes import LockProcess, flow, lock_process

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.handlers import StateHandler

HEAD_START = 0.002


def race(path: Path, rounds: int, racers: int = 2) -> None:
    """Release processes together, again and again; see that each time exactly one runs.

    The one that runs stays inside until the others have been refused.
    """
    with ExitStack() as stack:
        others = [stack.enter_context(lock_process(path)) for _ in range(racers)]
        for _ in range(rounds):
            race_once(others)


def race_once(others: list[LockProcess]) -> None:
    """Release them together, and see that one runs, which the rest may name."""
    moment = time.monotonic() + HEAD_START
    for other in others:
        other.send(f"race {moment}")
    answers = [other.answer() for other in others]
    assert answers.count("held") == 1, answers
    winner = others[answers.index("held")]
    known = {"held", f"busy {winner.process.pid}", "busy None"}
    assert set(answers) <= known, answers
    winner.send("end")
    assert winner.answer() == "ended"


def take_turns(path: Path, rounds: int, wait: float) -> None:
    """Let two processes run for a moment, again and again; see that never both are inside.

    Whoever comes too late is refused, or comes in after the other if it waits.
    """
    with lock_process(path) as one, lock_process(path) as two:
        both = (one, two)
        known = {"ran", *(f"busy {each.process.pid}" for each in both), "busy None"}
        for _ in range(rounds):
            for each in both:
                each.send(f"once {wait}")
            answers = [each.answer() for each in both]
            assert "ran" in answers
            assert set(answers) <= ({"ran"} if wait else known)


def read_while_written(path: Path, operation: str, durable: str, count: int) -> int:
    """Read while another process writes; see nothing but whole snapshots, each time a newer one.

    Returns:
        How many different states were seen.
    """
    handler: StateHandler = flow(path).handler
    number, sequence, seen = 0, 0, set[int]()
    with lock_process(path) as other:
        other.send(f"{operation} {int(durable == 'fsync')} {count}")
        while number < count:
            assert other.process.poll() is None, "the writer came to no good end"
            number = read_number(handler, number)
            sequence = read_sequence(handler, sequence)
            seen.add(number)
        assert other.answer() == "stored"
    return len(seen)


def read_number(handler: StateHandler, before: int) -> int:
    """Read the state; see that it is whole and no older than one before, and give its number."""
    state = handler.read()
    if not state:
        assert before == 0
        return 0
    rows: list[int] = state["rows"]
    number = rows[0]
    assert rows == [number] * (number % 20 * 5000 + 1)
    assert state["checkpoint_index"] in {number, 0}
    assert number >= before
    return number


def read_sequence(handler: StateHandler, before: int) -> int:
    """Read the header; see that it is no older than one before, and give its sequence number."""
    header = handler.header()
    if header is None:
        assert before == 0
        return 0
    assert header.sequence >= before
    return header.sequence
