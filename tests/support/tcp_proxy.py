"""A proxy between clients and a PostgreSQL server that delays, freezes, cuts and loses answers."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from free_ports import find_port
from postgres_messages import Message, MessageReader, StatementReader, asks_for_encryption

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")
PATIENCE = 60.0
_CHUNK = 1 << 18


@dataclass
class Loss:
    """Answers or requests that a proxy loses, each together with its connection.

    Attributes:
        pattern: Is searched in the statements of a transaction so far, one on a line, each time
            that a further statement comes.
        answers: Whether answers are lost. Otherwise requests are, which never reach the server.
        left: How many are still to be lost.
    """

    pattern: re.Pattern[bytes]
    answers: bool
    left: int
    _done: threading.Event = field(default_factory=threading.Event)

    def happened(self) -> bool:
        """Wait until the last of them is lost."""
        return self._done.wait(PATIENCE)

    def strikes(self, transaction: list[bytes]) -> bool:
        """Whether the last statement of the transaction is to be lost. It is counted then."""
        if self.left == 0 or self.pattern.search(b"\n".join(transaction)) is None:
            return False
        self.left -= 1
        return True

    def note(self) -> None:
        """Note that one is lost."""
        if self.left == 0:
            self._done.set()


class TcpProxy:
    """The proxy: it listens on a port of its own, and runs in a thread of its own.

    Attributes:
        host: The address that it listens on.
        port: The port that it listens on.
        delay: Seconds by which it holds back all bytes, in each direction.
        losses: What it loses.
        flowing: Is set but while it is frozen.
    """

    def __init__(self, port: int, target: str = "127.0.0.1", host: str = "127.0.0.1") -> None:
        """Start nothing yet. The server listens on `port` of `target`."""
        self.host, self.port, self.delay = host, find_port(), 0.0
        self.losses = list[Loss]()
        self.flowing = asyncio.Event()
        self._target, self._target_port = target, port
        self._links = set[_Link]()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def place(self) -> str:
        """The host and port that clients connect to."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """The number of connections through it."""
        return len(self._links)

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

    def freeze(self) -> None:
        """Hold back all bytes, those of new connections too. Nobody is told."""
        self._loop.call_soon_threadsafe(self.flowing.clear)

    def thaw(self) -> None:
        """Let the bytes flow again, those first that were held back."""
        self._loop.call_soon_threadsafe(self.flowing.set)

    def cut(self) -> int:
        """Break all connections, and return their number."""
        return self._do(self._cut())

    def refuse(self) -> None:
        """Listen no longer: the system refuses new connections."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Listen again."""
        self._do(self._accept())

    def lose_answers(self, pattern: str, count: int = 1) -> Loss:
        """Lose the next answers to statements that the server executes to their end.

        Args:
            pattern: See `Loss.pattern`. A dot matches newlines too, and case does not matter.
            count: How many.
        """
        return self._lose(pattern, count, answers=True)

    def lose_requests(self, pattern: str, count: int = 1) -> Loss:
        """Lose the next such statements before they reach the server."""
        return self._lose(pattern, count, answers=False)

    def _lose(self, pattern: str, count: int, *, answers: bool) -> Loss:
        compiled = re.compile(pattern.encode(), re.DOTALL | re.IGNORECASE)
        loss = Loss(compiled, answers, count)
        self.losses = [*self.losses, loss]
        return loss

    def _do(self, task: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(PATIENCE)

    async def _accept(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    async def _end(self) -> None:
        self.flowing.set()
        while self._links:
            await self._cut()
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await self.flowing.wait()
            await link.carry(self._target, self._target_port)
        finally:
            link.abort()
            self._links.discard(link)


class _Link:
    """One connection through the proxy."""

    def __init__(
        self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._reader, self._writers = proxy, reader, [writer]
        self._client, self._server = (
            MessageReader(from_client=True),
            MessageReader(from_client=False),
        )
        self._statements = StatementReader()
        # Each group of messages has one answer "ready for query", that of the start too.
        self._asked, self._answered = 1, 0
        self._losing: tuple[int, Loss] | None = None

    def abort(self) -> None:
        """Break both halves."""
        for writer in self._writers:
            writer.transport.abort()

    async def carry(self, target: str, port: int) -> None:
        """Carry bytes until one side ends."""
        with suppress(OSError, asyncio.CancelledError):
            reader, writer = await asyncio.open_connection(target, port)
            self._writers.append(writer)
            ways = [
                self._pump(self._reader, writer, self._to_server),
                self._pump(reader, self._writers[0], self._to_client),
            ]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passed: Callable[[bytes], bytes],
    ) -> None:
        held = asyncio.Queue[tuple[float, bytes | None]]()
        sender = asyncio.ensure_future(self._send(held, writer))
        loop = asyncio.get_running_loop()
        try:
            while chunk := await reader.read(_CHUNK):
                held.put_nowait((loop.time() + self._proxy.delay, passed(chunk)))
            held.put_nowait((loop.time() + self._proxy.delay, None))
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, held: asyncio.Queue[tuple[float, bytes | None]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._proxy.flowing.wait()
            if chunk is None:
                return
            writer.write(chunk)
            await writer.drain()

    def _to_server(self, chunk: bytes) -> bytes:
        messages = self._client.feed(chunk)
        for message in messages:
            if asks_for_encryption(message):
                self._server.single_bytes += 1
            if self._statements.executes(message):
                self._strike()
            if message.kind in (b"Q", b"S"):
                self._asked += 1
        return b"".join(message.raw for message in messages)

    def _strike(self) -> None:
        for loss in self._proxy.losses:
            if loss.strikes(self._statements.transaction):
                if not loss.answers:
                    loss.note()
                    raise ConnectionAbortedError
                self._losing = (self._asked + 1, loss)

    def _to_client(self, chunk: bytes) -> bytes:
        passed = [message for message in self._server.feed(chunk) if not self._is_lost(message)]
        return b"".join(message.raw for message in passed)

    def _is_lost(self, message: Message) -> bool:
        lost = self._losing is not None and self._answered + 1 >= self._losing[0]
        if message.kind == b"Z":  # ready for query: "I" stands for "in no transaction"
            self._answered += 1
            if message.body == b"I":
                self._statements.transaction.clear()
            if lost and self._losing is not None:
                self._losing[1].note()
                raise ConnectionAbortedError
        return lost


@contextmanager
def tcp_proxy(port: int, target: str = "127.0.0.1", host: str = "127.0.0.1") -> Generator[TcpProxy]:
    """Give a proxy before a server, which is ended afterwards."""
    proxy = TcpProxy(port, target, host)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.close()
