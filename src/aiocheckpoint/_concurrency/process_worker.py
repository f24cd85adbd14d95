"""A process that executes calls, one after the other, until its parent lets it go.

Each message begins with a byte that says its kind. A call reports which part of it has begun, by
`take_part_reporter`, so that the parent can limit the time of the part.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import contextmanager
from functools import partial
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

__all__ = ["ANSWER", "PART", "REFUSAL", "ctrl_c_held_back", "serve", "take_part_reporter"]

ANSWER = b"a"
"""The call has returned. The pickled result follows."""
PART = b"p"
"""A part of the call has begun. Its name follows, or nothing behind the last part."""
REFUSAL = b"r"
"""The function was not called, or its result cannot be pickled. The reason follows."""

_LOOK_SECONDS = 1.0


class _Here(threading.local):
    """What this thread knows of its call.

    Attributes:
        connection: That to the parent, from the begin of a call until its function has taken it.
    """

    connection: Connection | None = None


_here = _Here()


def take_part_reporter() -> Callable[[str], None]:
    """Give what tells the parent that a part of this call begins.

    Elsewhere it does nothing. Nor does it for a call that this one makes in turn, as by a flow in a
    step, whose parts are none of this call.
    """
    connection, _here.connection = _here.connection, None
    return _report_to_nobody if connection is None else partial(_report, connection)


def _report(connection: Connection, part: str) -> None:
    connection.send_bytes(PART + part.encode())


def _report_to_nobody(_: str) -> None:
    pass


@contextmanager
def ctrl_c_held_back() -> Generator[None, None, None]:
    """Start a process that Ctrl-C does not end before `serve` ignores it.

    Ctrl-C at a terminal reaches all processes there. What it means, the parent decides.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Its start would let the signal through again.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection) -> None:
    """Execute the calls that come, until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "register_at_fork"):
        # Else the parent would not see that this process has died while a child of it lives on.
        os.register_at_fork(after_in_child=connection.close)
    threading.Thread(target=_end_with_parent, name="aiocheckpoint-parent", daemon=True).start()
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _here.connection = connection
        answer = _answer(request)
        del request
        try:
            connection.send_bytes(answer)
        except OSError:
            return  # Nobody waits for it.


def _answer(request: bytes) -> bytes:
    try:
        function, argument = pickle.loads(request)  # noqa: S301 - from the parent
        return ANSWER + pickle.dumps(function(argument), 5)
    except BaseException as error:  # noqa: BLE001 - the parent hears of it
        return REFUSAL + f"{type(error).__name__}: {error}".encode(errors="replace")


def _end_with_parent() -> None:
    """End the process when its parent has died, so that no step goes on behind a lost run."""
    parent = parent_process()
    if parent is None:
        return
    # A forked child of the parent may keep its sentinel open.
    while not wait([parent.sentinel], timeout=_LOOK_SECONDS) and os.getppid() == parent.pid:
        pass
    os._exit(1)
