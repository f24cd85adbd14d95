"""A proxy before a server: it makes the way longer, and counts the bytes of the answers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

__all__ = ["DelayProxy"]

_CHUNK_BYTES = 1 << 16


class DelayProxy:
    """Passes bytes on, each way a fixed time later, on a loop in a thread of its own.

    Args:
        host, port: The server.
        seconds: How much later each chunk arrives, one way.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        received: Bytes that the server has sent.
    """

    def __init__(self, host: str, port: int, seconds: float = 0.0) -> None:
        self._server = host, port
        self._seconds = seconds
        self.port: int = 0
        self.received: int = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server)
        await asyncio.gather(
            self._pass_on(from_client, to_server, counts=False),
            self._pass_on(from_server, to_client, counts=True),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if counts:
                    self.received += len(chunk)
                if self._seconds:
                    self._loop.call_later(self._seconds, writer.write, chunk)
                else:
                    writer.write(chunk)
        self._loop.call_later(self._seconds, writer.close)
