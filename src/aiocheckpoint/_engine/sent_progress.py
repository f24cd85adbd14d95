"""The progress of a step that is executed elsewhere, on its way back to the run.

On the machine of the run it comes by datagrams while the step runs. In the process of the run it is
told as it is. From another machine it comes with the end of the step.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._concurrency import forks
from aiocheckpoint._engine.progress_timer import call_at

if TYPE_CHECKING:
    from aiocheckpoint._model.current_step import Progress, StepReports

__all__ = ["DistantReports", "ProgressChannel", "SentProgress"]

_SECONDS = 0.1
"""Between two values that are sent."""
_MOST_BYTES = 1 << 17
"""Of a datagram. A cursor of 16 KiB takes up to six times as much in JSON of JSON."""
_LONGEST_PATH = 90
"""The kernel allows some 100 bytes for the path of a socket."""


class LocalStep(Protocol):
    """The step in the process of its run. See `StepProgress`."""

    @property
    def latest(self) -> Progress | None:
        """What it has said last, or None."""
        ...

    @property
    def reports(self) -> StepReports | None:
        """Takes what it says. None where it has said nothing yet."""
        ...

    def make_reports(self) -> StepReports:
        """Make what takes it."""
        ...


class ProgressChannel(Protocol):
    """Takes progress where the step is executed."""

    def begin(self) -> None:
        """Note that the call has begun."""

    def open(self, cursor: str | None) -> StepReports:
        """Give what takes the progress of the step.

        Args:
            cursor: The cursor that the step begins with.
        """
        ...


class SentProgress:
    """The end of the channel in the process of the run.

    A copy made by pickle is the other end.

    Args:
        step: The step.

    Attributes:
        has_begun: Whether the call is known to have begun.
    """

    def __init__(self, step: LocalStep) -> None:
        self.has_begun: bool = False
        self._step: LocalStep | None = step
        self._token = secrets.token_hex(8)

    def begin(self) -> None:
        """Note that the call has begun, in this process."""
        self.has_begun = True

    def open(self, cursor: str | None) -> StepReports:  # noqa: ARG002 - the run has it
        """Give what takes the progress, in this process."""
        step = self._step
        if step is None:  # The run waits no more for this call.
            return DistantReports(None, self._token, None)
        return step.reports or step.make_reports()

    def close(self) -> None:
        """Let nothing more come in."""
        self._step = None
        _listener.channels.pop(self._token, None)

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of the other end, in the thread that listens."""
        self.has_begun = True
        if "done" in message:
            self.take_over((message["done"], message["total"], message["note"]), message["cursor"])

    def take_over(
        self, latest: tuple[float, float | None, str | None] | None, cursor: str | None
    ) -> None:
        """Take what the step has said last, unless it has come before."""
        step = self._step
        if step is None or latest is None:
            return
        reports = step.reports
        if reports is None or step.latest != latest or cursor not in {None, reports.cursor}:
            (reports or step.make_reports()).report(*latest, cursor)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the other end, which knows where this one listens."""
        return _DistantChannel, (_listener.listen_for(self._token, self), self._token)


class _DistantChannel:
    """The end of the channel where the step is executed.

    Args:
        address: Where the run listens, or None where it cannot.
        token: The name of the call.
    """

    def __init__(self, address: str | None, token: str) -> None:
        self._address, self._token = address, token

    def __reduce__(self) -> tuple[object, ...]:
        return _DistantChannel, (self._address, self._token)

    def begin(self) -> None:
        if self._address is not None:
            _send(self._address, {"token": self._token})

    def open(self, cursor: str | None) -> StepReports:
        return DistantReports(self._address, self._token, cursor)


class DistantReports:
    """Takes the progress of a step, and sends it to the run at most ten times a second.

    Args:
        address: Where the run listens, or None.
        token: The name of the call.
        cursor: The cursor that the step begins with.

    Attributes:
        cursor: The last cursor as JSON, or None.
        latest: What the step has said last, or None.
    """

    def __init__(self, address: str | None, token: str, cursor: str | None) -> None:
        self.cursor: str | None = cursor
        self.latest: tuple[float, float | None, str | None] | None = None
        self._address, self._token = address, token
        self._sent_at = self._due = float("-inf")

    def report(
        self, done: float, total: float | None, note: str | None, cursor: str | None
    ) -> None:
        """Take the progress of a step. `cursor` is None where it stays as it is."""
        self.latest = (done, total, note)
        if cursor is not None:
            self.cursor = cursor
        if self._address is None:
            return
        now = time.monotonic()
        if now - self._sent_at >= _SECONDS:
            self._tell(now)
        elif self._due < now - 1.0:
            self._due = self._sent_at + _SECONDS
            call_at(self, self._due)

    def on_time(self) -> None:
        """Send the value that has waited for its time. Called by the timer."""
        self._due = float("-inf")
        self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        if self._address is not None and self.latest is not None:
            self._sent_at = now
            words = dict(zip(("done", "total", "note"), self.latest, strict=True))
            _send(self._address, {"token": self._token, "cursor": self.cursor, **words})


_sockets: dict[object, socket.socket] = {}
"""The socket of this process that sends. That of a parent is none of a forked child."""


def _send(address: str, message: dict[str, Any]) -> None:
    """Send a message, and never wait. One that cannot be sent comes with the end of the step."""
    with suppress(OSError, ValueError):
        sending = _sockets.get(forks.process)
        if sending is None:
            sending = _sockets[forks.process] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
            sending.settimeout(0.0)
        sending.sendto(json.dumps(message).encode(), address)


class _Listener:
    """Receives the messages for the runs of this process, in a thread of its own.

    The folder of its socket belongs to this user alone, and each call has a name that is random.

    Attributes:
        channels: The calls that wait for messages, by their names.
    """

    def __init__(self) -> None:
        self.channels: weakref.WeakValueDictionary[str, SentProgress] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()
        self._address: str | None = None
        self._has_begun = False

    def listen_for(self, token: str, channel: SentProgress) -> str | None:
        """Listen for a call. Give the address, or None where no thread or socket can be had."""
        with self._lock:
            if not self._has_begun:
                self._has_begun = True
                with suppress(OSError, RuntimeError, AttributeError):  # Windows has no AF_UNIX.
                    self._begin()
            self.channels[token] = channel
            return self._address

    def _begin(self) -> None:
        folder = tempfile.mkdtemp(prefix="aiocheckpoint-")
        if len(os.fsencode(folder)) > _LONGEST_PATH:
            os.rmdir(folder)
            folder = tempfile.mkdtemp(prefix="aiocheckpoint-", dir="/tmp")
        address = os.path.join(folder, "progress")
        receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiving.bind(address)
            arguments = (self, receiving)
            name = "aiocheckpoint-sent-progress"
            threading.Thread(target=_listen, args=arguments, name=name, daemon=True).start()
        except BaseException:
            receiving.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._address = address
        atexit.register(_tidy, folder, forks.process)


def _listen(listener: _Listener, receiving: socket.socket) -> None:
    """Receive messages until the process ends. A message that is none is passed over."""
    while True:
        received = receiving.recv(_MOST_BYTES)
        with suppress(ValueError, KeyError, TypeError):
            message = json.loads(received)
            channel = listener.channels.get(message["token"])
            if channel is not None:
                channel.take(message)
                del channel


def _tidy(folder: str, process: object) -> None:
    if process is forks.process:
        shutil.rmtree(folder, ignore_errors=True)


_listener = _Listener()


def _reset_after_fork() -> None:
    """Forget the thread and the socket, which are the parent's."""
    global _listener  # noqa: PLW0603 - one for each process
    _listener = _Listener()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
