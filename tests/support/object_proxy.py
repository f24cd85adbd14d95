"""A proxy before an object store: it counts requests, and makes faults of all kinds.

It reads whole requests and whole answers, and keeps connections alive as the server does.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from free_ports import find_port
from http_messages import Answer, read_answer, read_request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from http_messages import Request
    from object_server import ObjectServer

T = TypeVar("T")

PATIENCE = 30.0
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Fault(Enum):
    """What happens to one request in place of its answer."""

    PRECONDITION = "412"
    """The server refuses it, whatever is stored: nothing is done."""
    CONFLICT = "409"
    """Another request for the object is in progress: nothing is done."""
    BROKEN = "500"
    """An internal error: nothing is done."""
    SLOW_DOWN = "503"
    """Too many requests: nothing is done."""
    BROKEN_AFTER = "500 after"
    """An internal error, though the server has done it."""
    CUT = "cut"
    """The connection ends before the request reaches the server."""
    LOST = "lost"
    """The connection ends after the server has done it."""
    TIMEOUT = "timeout"
    """Nobody answers until the client gives up."""
    TIMEOUT_AFTER = "timeout after"
    """The server has done it, and nobody answers until the client gives up."""
    LATE = "late"
    """Nobody answers, and the request reaches the server `Rule.seconds` after."""
    SLOW = "slow"
    """It reaches the server `Rule.seconds` later, and is answered."""


_REFUSALS = {
    Fault.PRECONDITION: (412, "PreconditionFailed"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict"),
    Fault.BROKEN: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.BROKEN_AFTER: (500, "InternalError"),
}
_DONE = (Fault.BROKEN_AFTER, Fault.LOST, Fault.TIMEOUT_AFTER)
"""The faults behind which the server has done what was asked for."""


@dataclass
class Seen:
    """One request that a proxy has seen.

    Attributes:
        method: See `Request.method`.
        key: The name of the object, or the prefix of the list.
        condition: The name of the header that makes it conditional, or nothing.
        sent: The bytes of its body.
        status: The status of its answer, 0 where none came back.
        received: The bytes of the answer's body.
        fault: What happened to it, or None.
    """

    method: str
    key: str
    condition: str
    sent: int
    status: int = 0
    received: int = 0
    fault: Fault | None = None

    @property
    def kind(self) -> str:
        """Its method, the folder of the object, and "create" or "change" for conditional ones."""
        of = {"if-match": " change", "if-none-match": " create", "": ""}[self.condition]
        return f"{self.method} {folder_of(self.key)}{of}"


def folder_of(key: str) -> str:
    """Return the kind of an object of the library: "runs", "owners", "kept" and so on."""
    parts = key.split("/")
    if "flows" in parts:
        behind = parts[parts.index("flows") + 2 :]
        return behind[0] if behind and behind[0] else "flows"
    return "owners" if "owners" in parts else parts[-1].partition("-")[0] or parts[0]


def of_kind(kind: str) -> Callable[[Seen], bool]:
    """Give a condition for `Rule.when`: requests whose kind begins with these words."""
    return lambda seen: seen.kind.startswith(kind)


@dataclass
class Rule:
    """Which requests a fault happens to.

    Attributes:
        fault: The fault.
        when: Whether a request counts.
        number: The first of those that count which it happens to, counted from 1.
        left: To how many, from there on.
        seconds: See `Fault`.
    """

    fault: Fault
    when: Callable[[Seen], bool]
    number: int = 1
    left: int = 1
    seconds: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)

    def strikes(self, seen: Seen) -> bool:
        """Whether the fault happens to this request. It is counted then."""
        if self.left == 0 or not self.when(seen):
            return False
        self.number -= 1
        if self.number > 0:
            return False
        self.left -= 1
        return True

    def note(self) -> None:
        """Note that one has happened."""
        if self.left == 0:
            self._done.set()

    @property
    def happened(self) -> bool:
        """Whether the last of them has happened."""
        return self._done.is_set()

    def wait(self) -> bool:
        """Wait until the last of them has happened."""
        return self._done.wait(PATIENCE)


class ObjectProxy:
    """The proxy: it listens on a port of its own, and runs in a thread of its own.

    Attributes:
        port: The port that it listens on.
        delay: Seconds by which each request reaches the server later, and each answer the client.
        seen: The requests so far.
        at_once: The largest number of requests that were in progress at once.
        rules: Which faults happen.
        ignored: Names of conditional headers that it leaves out, as a store does that knows none.
        flowing: Is set but while it is frozen.
    """

    def __init__(self, port: int, sign: Callable[[str], str]) -> None:
        """Start nothing yet.

        Args:
            port: The port that the server listens on.
            sign: Gives a signed URL for a PUT to a path.
        """
        self._sign = sign
        self.port, self.delay = find_port(), 0.0
        self.seen = list[Seen]()
        self.at_once = 0
        self.rules = list[Rule]()
        self.ignored = set[str]()
        self.flowing = asyncio.Event()
        self._in_progress = 0
        self._server_port = port
        self._links = set[_Link]()
        self._tasks = set[asyncio.Task[None]]()
        self._idle = list[_Stream]()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def endpoint(self) -> str:
        """The URL that clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self.thaw()
        self.accept()

    def close(self) -> None:
        """Cut all connections, and end."""
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inject(
        self,
        fault: Fault,
        when: str | Callable[[Seen], bool] = "",
        *,
        number: int = 1,
        count: int = 1,
        seconds: float = 0.0,
    ) -> Rule:
        """Make a fault happen.

        Args:
            fault: The fault.
            when: To requests for which this is true, or whose kind begins with these words.
            number: To the how manieth of those from now on, counted from 1.
            count: To how many from there on.
            seconds: See `Fault`.
        """
        chosen = of_kind(when) if isinstance(when, str) else when
        rule = Rule(fault, chosen, number, count, seconds)
        self.rules = [*self.rules, rule]
        return rule

    def kinds(self, since: int = 0) -> Counter[str]:
        """Count the requests by their kinds.

        Args:
            since: How many of the first ones are left out.
        """
        return Counter(seen.kind for seen in self.seen[since:])

    def freeze(self) -> None:
        """Let no request reach the server, and no answer the client. Nobody is told."""
        self._loop.call_soon_threadsafe(self.flowing.clear)

    def thaw(self) -> None:
        """Let all go on."""
        self._loop.call_soon_threadsafe(self.flowing.set)

    def refuse(self) -> None:
        """Listen no longer, and cut all connections: the system refuses new ones."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Listen again."""
        self._do(self._accept())

    async def forward(self, request: Request) -> Answer:
        """Have the server carry out a request."""
        if request.condition in self.ignored:
            # The headers are signed, so that none can be taken out.
            request = request.without_headers(self._sign(request.target))
        async with self._stream() as (reader, writer):
            writer.write(request.raw())
            await writer.drain()
            return await read_answer(reader, request.method)

    def send_later(self, request: Request, seconds: float) -> None:
        """Have the server carry out a request later, whose answer nobody reads."""
        task = asyncio.ensure_future(self._send_later(request, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextmanager
    def counted(self, seen: Seen) -> Generator[None]:
        """Count a request while it is in progress."""
        self.seen.append(seen)
        self._in_progress += 1
        self.at_once = max(self.at_once, self._in_progress)
        try:
            yield
        finally:
            self._in_progress -= 1

    def strike(self, seen: Seen) -> Rule | None:
        """Give the rule that a request falls under, if any."""
        return next((rule for rule in self.rules if rule.strikes(seen)), None)

    def _do(self, task: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(PATIENCE)

    async def _accept(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.abort()

    async def _end(self) -> None:
        self.flowing.set()
        for task in self._tasks:
            task.cancel()
        while self._links:
            await self._refuse()
            await asyncio.sleep(0.001)
        for _, writer in self._idle:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await link.carry()
        finally:
            link.abort()
            self._links.discard(link)

    async def _send_later(self, request: Request, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(OSError):
            await self.forward(request)

    @asynccontextmanager
    async def _stream(self) -> AsyncGenerator[_Stream]:
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()
        if self._idle:
            stream = self._idle.pop()
        else:
            stream = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            yield stream
        except BaseException:
            stream[1].transport.abort()
            raise
        self._idle.append(stream)


class _Link:
    """One connection of a client."""

    def __init__(
        self, proxy: ObjectProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer

    def abort(self) -> None:
        """Break it."""
        self._writer.transport.abort()

    async def carry(self) -> None:
        """Carry requests until the client ends, or a fault does."""
        while (request := await read_request(self._reader)) is not None:
            seen = Seen(request.method, request.key, request.condition, len(request.body))
            with self._proxy.counted(seen):
                answer = await self._answer(request, seen)
            seen.status, seen.received = answer.status, len(answer.body)
            self._writer.write(answer.raw())
            await self._writer.drain()

    async def _answer(self, request: Request, seen: Seen) -> Answer:
        await self._travel()
        rule = self._proxy.strike(seen)
        if rule is None:
            answer = await self._proxy.forward(request)
        else:
            seen.fault = rule.fault
            answer = await self._suffer(request, rule)
        await self._travel()
        return answer

    async def _travel(self) -> None:
        if self._proxy.delay:
            await asyncio.sleep(self._proxy.delay)
        await self._proxy.flowing.wait()

    async def _suffer(self, request: Request, rule: Rule) -> Answer:
        if rule.fault in _DONE:
            await self._proxy.forward(request)
        rule.note()
        if rule.fault in _REFUSALS:
            return Answer.of_error(*_REFUSALS[rule.fault])
        if rule.fault is Fault.SLOW:
            await asyncio.sleep(rule.seconds)
            return await self._proxy.forward(request)
        if rule.fault is Fault.LATE:
            self._proxy.send_later(request, rule.seconds)
        if rule.fault in (Fault.TIMEOUT, Fault.TIMEOUT_AFTER, Fault.LATE):
            await self._reader.read(1)
        raise ConnectionAbortedError


@contextmanager
def object_proxy(server: ObjectServer) -> Generator[ObjectProxy]:
    """Give a proxy before a server, which is ended afterwards."""
    proxy = ObjectProxy(server.port, server.sign_put)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.close()
