"""Datagrams between the processes of one machine: the progress of sent steps, on its way back.

They are never waited for, and may be lost.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import tempfile
import threading
import weakref
from contextlib import suppress
from typing import Any, Protocol

from aiocheckpoint._concurrency import forks

__all__ = ["MessageTaker", "forget", "listen_for", "send"]

_MOST_BYTES = 1 << 17
"""Of a datagram. A cursor of 16 KiB takes up to six times as much in JSON of JSON."""
_LONGEST_PATH = 90
"""The kernel allows some 100 bytes for the path of a socket."""


class MessageTaker(Protocol):
    """Takes the messages of one call."""

    def take(self, message: dict[str, Any]) -> None:
        """Take a message, in the thread that listens."""


_sockets: dict[object, socket.socket] = {}
"""The socket of this process that sends. That of a parent is none of a forked child."""


def send(address: str, message: dict[str, Any]) -> None:
    """Send a message, and never wait. One that cannot be sent is dropped.

    Args:
        address: Where the process of the run listens.
        message: What JSON holds, with the name of the call as `token`.
    """
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
        calls: The calls that wait for messages, by their names.
    """

    def __init__(self) -> None:
        self.calls: weakref.WeakValueDictionary[str, MessageTaker] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._address: str | None = None
        self._has_begun = False

    def add(self, token: str, call: MessageTaker) -> str | None:
        """Add a call, and give the address, or None where no thread or socket can be had."""
        with self._lock:
            if not self._has_begun:
                self._has_begun = True
                with suppress(OSError, RuntimeError, AttributeError):  # Windows has no AF_UNIX.
                    self._begin()
            self.calls[token] = call
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
            call = listener.calls.get(message["token"])
            if call is not None:
                call.take(message)
                del call


def _tidy(folder: str, process: object) -> None:
    if process is forks.process:
        shutil.rmtree(folder, ignore_errors=True)


_listener = _Listener()


def listen_for(token: str, call: MessageTaker) -> str | None:
    """Let a call take its messages, until `forget` or the end of the object.

    Args:
        token: The name of the call.
        call: Takes them, in the thread that listens.

    Returns:
        The address to send them to. None where no thread or socket can be had, as on Windows.
    """
    return _listener.add(token, call)


def forget(token: str) -> None:
    """Let a call take no more messages."""
    _listener.calls.pop(token, None)


def _reset_after_fork() -> None:
    """Forget the thread and the socket, which are the parent's."""
    global _listener  # noqa: PLW0603 - one for each process
    _listener = _Listener()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
