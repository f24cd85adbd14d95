"""Requests and answers of HTTP/1.1 as a proxy of objects reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import asyncio

_NO_BODY = ("204", "304")


@dataclass
class Message:
    """A request or an answer.

    Attributes:
        first: The first line, without its end.
        headers: The headers in their order, names in lower case.
        body: The body, whole.
    """

    first: str
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header, empty where it is missing."""
        return next((value for found, value in self.headers if found == name), "")

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks, and its length is not told before."""
        return "chunked" in self.header("transfer-encoding")

    def raw(self) -> bytes:
        """Return it as bytes, with the length of its body."""
        left_out = ("content-length", "transfer-encoding")
        lines = [f"{name}: {value}" for name, value in self.headers if name not in left_out]
        # The answer to a HEAD tells the length of a body that does not follow.
        told = str(len(self.body)) if self.body or self.chunked else self.header("content-length")
        if told:
            lines.append(f"content-length: {told}")
        return self.head(*lines) + self.body

    def head(self, *lines: str) -> bytes:
        """Return the first line and lines of headers as bytes."""
        return "\r\n".join([self.first, *lines, "", ""]).encode("latin-1")


@dataclass
class Request(Message):
    """A request for an object, or for a list of objects."""

    @property
    def method(self) -> str:
        """Its method: "LIST" for a list, "DELETES" for many deletions at once."""
        word = self.first.partition(" ")[0]
        if word == "GET" and "list-type" in self.query:
            return "LIST"
        return "DELETES" if word == "POST" and "delete" in self.query else word

    @property
    def target(self) -> str:
        """The path and the query."""
        return self.first.split(" ")[1]

    @property
    def query(self) -> dict[str, list[str]]:
        """The words of the query."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def key(self) -> str:
        """The name of the object, or the prefix of a list, without the bucket."""
        if "prefix" in self.query:
            return self.query["prefix"][0]
        return unquote(urlsplit(self.target).path).lstrip("/").partition("/")[2]

    @property
    def condition(self) -> str:
        """The name of the header that makes it conditional, or nothing."""
        return next((name for name in ("if-match", "if-none-match") if self.header(name)), "")

    def without_headers(self, url: str) -> Request:
        """Return the request for a signed URL, which has the same body and no condition."""
        parts = urlsplit(url)
        first = f"{self.first.split(' ')[0]} {parts.path}?{parts.query} HTTP/1.1"
        return Request(first, [("host", parts.netloc)], self.body)


@dataclass
class Answer(Message):
    """An answer."""

    @property
    def status(self) -> int:
        """Its status."""
        return int(self.first.split(" ")[1])

    @classmethod
    def of_error(cls, status: int, code: str) -> Answer:
        """Make the answer by which S3 refuses a request."""
        told = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
        headers = [("content-type", "application/xml")]
        return cls(f"HTTP/1.1 {status} {code}", headers, told.encode())


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read a request, or None at the end of a connection."""
    first = (await reader.readline()).decode("latin-1").rstrip("\r\n")
    if not first:
        return None
    request = Request(first, await _read_headers(reader))
    request.body = await _read_body(reader, request)
    return request


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """Read the answer to a request of a method."""
    first = (await reader.readline()).decode("latin-1").rstrip("\r\n")
    if not first:
        raise ConnectionResetError
    answer = Answer(first, await _read_headers(reader))
    if method != "HEAD" and first.split(" ")[1] not in _NO_BODY:
        answer.body = await _read_body(reader, answer)
    return answer


async def _read_headers(reader: asyncio.StreamReader) -> list[tuple[str, str]]:
    headers = list[tuple[str, str]]()
    while line := (await reader.readline()).decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    return headers


async def _read_body(reader: asyncio.StreamReader, message: Message) -> bytes:
    if not message.chunked:
        return await reader.readexactly(int(message.header("content-length") or 0))
    parts = list[bytes]()
    while size := int((await reader.readline()).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)
