"""A database of orders as a service leaves it: runs of every kind, with times that are known."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from stored_runs import queue_run

from aiocheckpoint import CheckpointFlow, Failure
from aiocheckpoint._display import times

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from support import State

__all__ = [
    "BEGAN",
    "CONNECT",
    "NOW",
    "SERVICE",
    "STEPS",
    "called_at_quarter_to",
    "open_orders",
    "store_orders",
]

NOW = 1_796_035_500.0
"""2026-11-30 10:45:00 UTC."""
BEGAN = NOW - 233.0
STEPS = ("reserve", "approve", "charge", "invoice")
VERSIONS = {"python": "3.11.7", "dill": "0.4.1", "library": "0.6.0"}
CONNECT = "httpx.ConnectTimeout"
TRACE = """Traceback (most recent call last):
  File "/app/service.py", line 30, in charge
    bank.charge(state["cents"])
{kind}: {message}
"""
SERVICE = """
import pathlib
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow("orders.db", handler="sqlite", fsync=False)

def make():
    return cp

def make_none():
    return None

async def make_later():
    return cp

@cp.add_step()
def reserve(state): ...

@cp.add_step()
def approve(state): ...

@cp.add_step()
def charge(state):
    pathlib.Path("charged").touch()

@cp.add_step()
def invoice(state): ...

print("the service is imported")
"""


@contextmanager
def called_at_quarter_to() -> Generator[None]:
    """Let the command line be called at a known time, in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "now", lambda: NOW)
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def open_orders(
    folder: Path,
    name: str = "orders",
    url: str = "",
    **options: Any,  # noqa: ANN401
) -> CheckpointFlow:
    """Make the flow of the orders, whose steps do nothing, on a database in a folder, or a URL."""
    place: dict[str, Any] = {} if url else {"handler": "sqlite", "fsync": False}
    cp = CheckpointFlow(url or folder / "orders.db", name=name, **place, **options)
    for step in STEPS:
        cp.add_step(name=step)(_nothing)
    return cp


def _nothing(state: State) -> None: ...


def failed(step: str, kind: str, message: str, attempt: int = 1, at: float = NOW) -> Failure:
    """What a run broke on."""
    return Failure(
        step=step,
        part="step",
        type=kind,
        message=message,
        traceback=TRACE.format(kind=kind, message=message),
        at=at,
        seconds=10.004,
        attempt=attempt,
    )


def store_orders(folder: Path, *, now: float = NOW, **options: Any) -> Path:  # noqa: ANN401
    """Store six orders: two that failed at "charge", one at "reserve", and one of each other kind.

    Args:
        folder: Where `orders.db` and `service.py` are made.
        now: When the newest snapshots were written: 12 seconds before, and earlier.
        options: Options of the handler, or `url=` of a server for the orders.
    """
    url: str = options.get("url", "")
    cp = open_orders(folder, **options)
    state = {"item": "book", "cents": 13_995}
    done = {"durations": {"reserve": 0.031, "approve": 0.001}, "position": 2}
    timeout = failed("charge", CONNECT, "no answer in 10 s", 5, now)
    tried: dict[str, Any] = {
        "status": "failed",
        "failure": timeout,
        "attempts": {"charge": 5},
        **done,
    }
    for number, (run_id, ago, facts) in enumerate(
        [
            ("order-42", 65.0, tried),
            ("order-57", 62.0, {**tried, "number": 3}),
            ("order-58", 50.0, {"status": "finished", "position": 4}),
            ("order-59", 40.0, {"status": "paused", "position": 1, "pause": "over the limit"}),
            ("order-60", 30.0, {"due": now + 600.0}),
            ("order-61", 12.0, {"status": "failed", "failure": _out_of_stock(now)}),
        ]
    ):
        times = {"started_at": now - 233.0 + number, "written_at": now - ago}
        queue_run(cp, run_id, state, **{"sequence": 14, **times, **VERSIONS, **facts})
    cp.handler.close()
    place = '"orders.db", handler="sqlite", fsync=False'
    source = SERVICE if url == "" else SERVICE.replace(place, f"{url!r}, name='orders'")
    (folder / "service.py").write_text(source, encoding="utf-8")
    return folder


def _out_of_stock(now: float) -> Failure:
    return failed("reserve", "service.OutOfStockError", "book", at=now)
