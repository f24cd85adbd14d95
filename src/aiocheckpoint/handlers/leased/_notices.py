"""The notices that this process waits for, heard by one connection in a thread of its own.

The thread begins with the first caller that waits for a notice, and ends some seconds after the
last one. Nothing here holds a lock, as a signal handler may come in the midst of any line.
"""

from __future__ import annotations

import os
import random
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint._concurrency.lone_thread import LoneThread
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.leased._listener import announced, announcement, is_woken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.leased._listener import StoreListener

__all__ = ["Notices"]

_NAME = "aiocheckpoint-notices"
_LINGER_SECONDS = 5.0
"""How long the connection stays when no caller waits any more."""
_RETRY_SECONDS = 2.0
_SLICE_SECONDS = 0.1
_ANNOUNCE_SECONDS = 10.0
"""Between two announcements of the same notice. A process that begins to listen in between does
not know of it."""
_FORGET_SECONDS = 25.0
_ATTEND_SECONDS = 2.0
"""How long a notice counts as waited for when no caller waits any more. Workers wait repeatedly."""
_LONGEST_WAIT = 60.0
_LONGEST_JOIN = 1.0

_all: weakref.WeakSet[Notices] = weakref.WeakSet()


class _Hearer(NamedTuple):
    """A caller that waits for a notice.

    Attributes:
        notice: The notice.
        callback: Called in the thread of the listener. It returns at once.
        announces: Whether other processes send it only if they know that it is waited for.
        attends: Whether other processes are to see that it is waited for now.
    """

    notice: str
    callback: Callable[[], object]
    announces: bool
    attends: bool


class Notices:
    """Hears notices for the callers of this process.

    Args:
        listen: Connects. None where the store sends nothing, as behind a pooler.
        clock: Tells the time.
    """

    def __init__(self, listen: Callable[[], StoreListener | None], clock: Clock) -> None:
        self._listen, self._clock = listen, clock
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._hearers: dict[object, _Hearer] = {}
        self._deaf: frozenset[object] = frozenset()
        self._awaited: dict[str, float] = {}
        self._listener: StoreListener | None = None
        self._is_silent = self._is_closing = False
        self._needed_at = self._retry_at = 0.0
        self._announced: dict[str, float] = {}
        self._attended: dict[str, float] = {}
        self._missed: dict[str, bool] = {}
        self._thread = LoneThread(_NAME, self._turn, self._is_wanted)

    @property
    def is_connected(self) -> bool:
        """Whether notices are heard."""
        return self._listener is not None

    @property
    def has_awaited(self) -> bool:
        """Whether any process waits for a notice that is sent only then."""
        return bool(self._awaited)

    def is_awaited(self, notice: str) -> bool:
        """Whether any process has announced lately that it waits for a notice."""
        return notice in self._awaited

    @contextmanager
    def hearing(
        self,
        notice: str,
        callback: Callable[[], object],
        *,
        announces: bool = False,
        attends: bool = False,
    ) -> Generator[None, None, None]:
        """Call `callback` at each notice of a kind, and when some may have been missed.

        One that comes between two waits of a caller that attends again and again is kept for it.

        Args:
            notice: The notice.
            callback: Called in another thread. It returns at once.
            announces: Whether other processes send it only if they know that it is waited for.
            attends: Whether other processes are to see that it is waited for now.
        """
        me = object()
        self._hearers[me] = _Hearer(notice, callback, announces, attends)
        try:
            if attends and self._missed.pop(notice, False):
                callback()
            self._rouse()
            yield
        finally:
            self._hearers.pop(me, None)
            if not self._is_needed:
                self._wake()  # The thread waits from now on for its end.

    def close(self) -> None:
        """Close the connection. Who waits now hears no more. The next one opens it again."""
        self._deaf = frozenset(copied(self._hearers))
        if self._thread.living:
            self._is_closing = True
            self._wake()
            for worker in list(self._thread.living.values()):
                with suppress(RuntimeError):  # A finalizer calls this in the very thread.
                    worker.join(_LONGEST_JOIN)

    def reset_after_fork(self) -> None:
        """Start over in a forked child."""
        if self._listener is not None:
            self._listener.abandon()
        self._reset()

    def _rouse(self) -> None:
        if self._is_silent:
            return
        if not self._thread.living:
            self._thread.start()
        else:
            self._wake()

    def _wake(self) -> None:
        listener = self._listener
        if listener is not None:
            listener.wake()

    def _is_wanted(self) -> bool:
        return self._listener is not None or (self._is_needed and not self._is_silent)

    @property
    def _is_needed(self) -> bool:
        return any(hearer not in self._deaf for hearer in copied(self._hearers))

    def _turn(self) -> None:
        """Wait for notices once, or connect. An error ends the connection, and no thread."""
        try:
            if self._listener is None:
                self._connect()
            else:
                self._hear(self._listener)
        except StorageError:
            self._disconnect()

    def _connect(self) -> None:
        now = self._clock.monotonic()
        if now < self._retry_at:
            self._clock.sleep(min(self._retry_at - now, _SLICE_SECONDS))
            return
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        self._retry_at = now + _RETRY_SECONDS * jitter
        self._is_closing = False
        listener = self._listen()
        self._is_silent = listener is None
        if listener is not None:
            self._needed_at, self._announced, self._attended = now, {}, {}
            self._listener = listener
            self._update(listener, now)
            for hearer in copied(self._hearers.values()):  # It may have missed some.
                hearer.callback()

    def _disconnect(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _hear(self, listener: StoreListener) -> None:
        now = self._clock.monotonic()
        if self._is_needed:
            self._needed_at = now
        if self._is_closing or now - self._needed_at > _LINGER_SECONDS:
            self._is_closing = False
            self._disconnect()
            return
        self._update(listener, now)
        heard = listener.wait(self._seconds_to_wait(now))
        if not heard:
            return
        now = self._clock.monotonic()
        for notice in announced(heard):
            self._awaited[notice] = now
        given = set(heard)
        # Before the look at the hearers, as `hearing` does the reverse.
        self._missed.update((one, True) for one in self._attended if is_woken_by(one, given))
        for hearer in copied(self._hearers.values()):
            if is_woken_by(hearer.notice, given):
                self._missed.pop(hearer.notice, None)
                hearer.callback()

    def _update(self, listener: StoreListener, now: float) -> None:
        """Announce to other processes the notices that this one waits for."""
        hearers = copied(self._hearers.values())
        self._attend(listener, [hearer for hearer in hearers if hearer.attends], now)
        wanted = {hearer.notice for hearer in hearers if hearer.announces}
        self._announced = {notice: at for notice, at in self._announced.items() if notice in wanted}
        due = [one for one in wanted if now >= self._announced.get(one, 0.0) + _ANNOUNCE_SECONDS]
        if due:
            listener.notify([announcement(notice) for notice in due])
            self._announced.update(dict.fromkeys(due, now))
        for notice, at in copied(self._awaited.items()):
            if now - at > _FORGET_SECONDS:
                self._awaited.pop(notice, None)

    def _attend(self, listener: StoreListener, hearers: list[_Hearer], now: float) -> None:
        before = self._attended
        kept = {notice: at for notice, at in before.items() if now - at < _ATTEND_SECONDS}
        self._attended = {**kept, **{hearer.notice: now for hearer in hearers}}
        self._missed = {one: True for one in copied(self._missed) if one in self._attended}
        if self._attended.keys() != before.keys():
            listener.attend(self._attended)
            for hearer in hearers:  # One that was sent before was not heard.
                if hearer.notice not in before:
                    hearer.callback()

    def _seconds_to_wait(self, now: float) -> float:
        ends = [at + _ATTEND_SECONDS for at in self._attended.values()]
        ends += [at + _ANNOUNCE_SECONDS for at in self._announced.values()]
        if not self._is_needed:
            ends.append(self._needed_at + _LINGER_SECONDS)
        return max(0.0, min(ends, default=now + _LONGEST_WAIT) - now)


def _reset_all() -> None:
    for notices in list(_all):
        with suppress(StorageError):
            notices.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
