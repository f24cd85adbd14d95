"""A recorder for `around=` that works as a tracing tool: spans in a context variable."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint.events import RunStarted, SnapshotStarted, StepStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from aiocheckpoint.events import Event

__all__ = ["SPAN", "AsyncSpans", "Span", "Spans"]


@dataclass(eq=False)
class Span:
    """One part of a run, as a tracing tool sees it.

    Attributes:
        name: The part, and what is known of it.
        run_id: The run's id.
        parent: The span that was the current one before.
        children: The spans for which it was that.
        error: The exception that ended it, or None.
        ended: Whether it was left.
    """

    name: tuple[object, ...]
    run_id: str | None = None
    parent: Span | None = None
    children: list[Span] = field(default_factory=list["Span"])
    error: BaseException | None = None
    ended: bool = False

    @property
    def names(self) -> list[tuple[object, ...]]:
        """The names of the children, in order."""
        return [child.name for child in self.children]


SPAN: ContextVar[Span | None] = ContextVar("SPAN", default=None)


def name_of(part: str, event: Event) -> tuple[object, ...]:
    """What is known of a part."""
    match event:
        case RunStarted():
            return (part, event.number)
        case StepStarted():
            return (part, event.step, event.attempt)
        case SnapshotStarted():
            return (part, event.step, event.position)
        case _:
            raise AssertionError(event)


class Spans:
    """Opens a span around each part, and closes it in the context in which it was opened."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    def __call__(self, part: str, event: Event) -> Any:  # noqa: ANN401
        """Give the context manager for a part."""
        return self.around(part, event)

    @contextmanager
    def around(self, part: str, event: Event) -> Generator[Span, None, None]:
        """Be the current span. `reset` raises in another context."""
        span = Span(name_of(part, event), event.run_id, SPAN.get())
        self.all.append(span)
        if span.parent is not None:
            span.parent.children.append(span)
        token = SPAN.set(span)
        try:
            yield span
        except BaseException as error:
            span.error = error
            raise
        finally:
            span.ended = True
            SPAN.reset(token)

    def roots(self) -> list[Span]:
        """The spans of runs."""
        return [span for span in self.all if span.name[0] == "run"]


class AsyncSpans(Spans):
    """Does the same, and awaits something before and behind."""

    def __call__(self, part: str, event: Event) -> Any:  # noqa: ANN401
        """Give the context manager for a part."""
        return self.around_async(part, event)

    @asynccontextmanager
    async def around_async(self, part: str, event: Event) -> AsyncGenerator[None, None]:
        """Be the current span, as above."""
        await asyncio.sleep(0)
        with self.around(part, event):
            yield
        await asyncio.sleep(0)
