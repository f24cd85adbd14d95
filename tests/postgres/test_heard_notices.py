"""Callers of a process hear through one connection, as long as somebody waits for something."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint.handlers.leased import _notices
from aiocheckpoint.handlers.leased._listener import (
    FREED,
    ending_notice,
    queue_notice,
    release_notice,
)
from aiocheckpoint.handlers.leased._notices import Notices
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._notifications import PostgresListener, notify
from aiocheckpoint.handlers.postgres._url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from postgres_server import PostgresServer

LIMIT = 30.0
"""Seconds. A bound against hanging."""
SOON = 0.1
RUN = release_notice((b"orders", b"order-1"))
OTHER = release_notice((b"orders", b"order-2"))
QUEUE, ENDING = queue_notice(b"orders"), ending_notice(b"orders")
LISTENERS = "query LIKE 'LISTEN%' OR query LIKE '%pg_notify%' OR query LIKE '%lock_shared%'"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection end sooner, and begin sooner after a loss."""
    monkeypatch.setattr(_notices, "_LINGER_SECONDS", SOON)
    monkeypatch.setattr(_notices, "_RETRY_SECONDS", SOON)


@pytest.fixture
def tell(database_url: str) -> Iterator[Callable[..., None]]:
    """Give a function that tells a notice, as another process does."""
    with closing(connect(parse_url(database_url), writes=True, seconds_to_answer=LIMIT)) as session:
        yield lambda *notices: notify(session, notices)


GATE = threading.Lock()
"""Held by a test where no connection is to be there yet."""


def make(url: str) -> Notices:
    """Make the notices of a process."""

    def listen() -> PostgresListener:
        with GATE:
            return PostgresListener(connect(parse_url(url), writes=True, seconds_to_answer=LIMIT))

    return Notices(listen, time)


@pytest.fixture
def notices(database_url: str) -> Iterator[Notices]:
    """Give the notices of this process."""
    made = make(database_url)
    yield made
    made.close()


class Heard:
    """Counts calls of a callback, and waits for one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._called = threading.Semaphore(0)

    def __call__(self) -> None:
        """Count a call."""
        self.count += 1
        self._called.release()

    def once_more(self) -> None:
        """Wait for a call that was not waited for before."""
        assert self._called.acquire(timeout=LIMIT)


@contextmanager
def hearing_together(notices: Notices, heard: dict[str, Heard]) -> Generator[None, None, None]:
    """Hear some notices over a connection that is made for all of them."""
    with ExitStack() as stack:
        with GATE:
            for notice, callback in heard.items():
                stack.enter_context(notices.hearing(notice, callback))
        for callback in heard.values():
            callback.once_more()  # Something may have been missed before it was there.
        yield


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_caller_hears_its_notice(notices: Notices, tell: Callable[..., None]) -> None:
    """A callback is called for its notice, and for no other."""
    heard, other = Heard(), Heard()
    with hearing_together(notices, {RUN: heard, OTHER: other}):
        tell(RUN)
        heard.once_more()
        tell(OTHER)
        other.once_more()
    assert (heard.count, other.count) == (2, 2)


def test_a_freed_owner_concerns_who_waits_for_a_run(
    notices: Notices, tell: Callable[..., None]
) -> None:
    """Runs of an owner that was gone wake the callers that wait for runs, and workers."""
    run, queue, ending = Heard(), Heard(), Heard()
    with hearing_together(notices, {RUN: run, QUEUE: queue, ENDING: ending}):
        tell(FREED)
        run.once_more()
        queue.once_more()
        tell(ENDING)
        ending.once_more()
    assert ending.count == 2


def test_others_know_what_is_waited_for(notices: Notices, database_url: str) -> None:
    """A process that listens knows the notices that others have announced to wait for."""
    with closing(make(database_url)) as other, other.hearing(ENDING, Heard()):
        wait_until(lambda: other.is_connected)
        with notices.hearing(RUN, Heard(), announces=True):
            wait_until(lambda: other.is_awaited(RUN))
            with notices.hearing(OTHER, Heard(), announces=True):
                wait_until(lambda: other.is_awaited(OTHER))
    assert not other.is_awaited(QUEUE)


def test_announcements_are_forgotten(
    notices: Notices, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice for which nobody waits any more is told no more."""
    monkeypatch.setattr(_notices, "_FORGET_SECONDS", 3 * SOON)
    monkeypatch.setattr(_notices, "_LONGEST_WAIT", SOON)
    monkeypatch.setattr(_notices, "_ANNOUNCE_SECONDS", SOON)
    with closing(make(database_url)) as other, other.hearing(ENDING, Heard()):
        wait_until(lambda: other.is_connected)
        with notices.hearing(RUN, Heard(), announces=True):
            wait_until(lambda: other.is_awaited(RUN))
            time.sleep(6 * SOON)
            assert other.is_awaited(RUN)  # It is announced again and again.
        wait_until(lambda: not other.has_awaited)


def test_a_worker_looks_again_once_it_is_seen(
    notices: Notices, database_url: str, tell: Callable[..., None]
) -> None:
    """A worker that begins to wait looks once more, as what came just before was not told."""
    del tell
    ending, queue = Heard(), Heard()
    with notices.hearing(ENDING, ending):
        ending.once_more()
        with notices.hearing(QUEUE, queue, attends=True):
            queue.once_more()
            session = connect(parse_url(database_url), writes=True, seconds_to_answer=LIMIT)
            with closing(session):
                notify(session, [], if_attended=[QUEUE])
            queue.once_more()
        with notices.hearing(QUEUE, queue, attends=True):
            time.sleep(SOON)
    assert queue.count == 2  # It was seen all the time.


def test_the_connection_ends_when_nobody_waits(
    notices: Notices, postgres: PostgresServer, database_url: str
) -> None:
    """There is no connection before the first caller, and none soon after the last one."""

    def listening() -> int:
        found = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        ((count,),) = postgres.sql(found, database_url.rpartition("/")[2])
        return int(count)

    assert not notices.is_connected
    for _ in range(2):
        with notices.hearing(RUN, Heard()):
            wait_until(lambda: notices.is_connected)
            assert listening() == 1
        wait_until(lambda: not notices.is_connected)
        wait_until(lambda: listening() == 0)


def test_a_lost_connection_is_made_anew(
    notices: Notices, postgres: PostgresServer, tell: Callable[..., None]
) -> None:
    """Callers look once when the connection is there again, and hear as before."""
    heard = Heard()
    with notices.hearing(RUN, heard, announces=True):
        heard.once_more()
        for _ in range(3):
            wait_until(lambda: postgres.terminate_backends("query LIKE 'LISTEN%'") == 0)
            wait_until(lambda: postgres.terminate_backends(LISTENERS) > 0)
            heard.once_more()
        tell(RUN)
        heard.once_more()


def test_a_store_that_tells_nothing() -> None:
    """Callers of a store without notices hear nothing, and there is no thread for them."""
    before = threading.active_count()
    notices, heard = Notices(lambda: None, time), Heard()
    for _ in range(3):
        with notices.hearing(RUN, heard):
            wait_until(lambda: threading.active_count() == before)
            assert not notices.is_connected
    assert heard.count == 0


def test_a_forked_child(notices: Notices, tell: Callable[..., None]) -> None:
    """A child leaves the connection to its parent, and hears on one of its own."""
    heard = Heard()
    with notices.hearing(RUN, heard):
        heard.once_more()
        child = os.fork()
        if not child:
            works = not notices.is_connected
            with notices.hearing(RUN, heard):
                heard.once_more()
                works &= notices.is_connected
            notices.close()
            os._exit(0 if works else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        tell(RUN)
        heard.once_more()


def test_between_two_waits(
    notices: Notices, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits again hears what was told since its last wait."""
    monkeypatch.setattr(_notices, "_LINGER_SECONDS", LIMIT)
    monkeypatch.setattr(_notices, "_ATTEND_SECONDS", LIMIT)
    heard, again, other = Heard(), Heard(), Heard()
    with notices.hearing(QUEUE, heard, attends=True):
        heard.once_more()
        wait_until(lambda: heard.count == 2)  # It is attended.
    with closing(connect(parse_url(database_url), writes=True, seconds_to_answer=LIMIT)) as session:
        notify(session, [], if_attended=[QUEUE])
        with notices.hearing(RUN, other):
            notify(session, [RUN])
            other.once_more()
    with notices.hearing(QUEUE, again, attends=True):
        again.once_more()
    with notices.hearing(QUEUE, again, attends=True):
        time.sleep(SOON)
    assert (heard.count, again.count) == (2, 1)


def test_closed_while_somebody_waits(notices: Notices, tell: Callable[..., None]) -> None:
    """A close ends the connection, and who waits then does not open it again. The next one does."""
    heard, later = Heard(), Heard()
    with notices.hearing(RUN, heard):
        heard.once_more()
        notices.close()
        assert not notices.is_connected
        time.sleep(3 * SOON)
        assert not notices.is_connected
        with notices.hearing(RUN, later):
            later.once_more()
            heard.once_more()
            tell(RUN)
            later.once_more()
            heard.once_more()
