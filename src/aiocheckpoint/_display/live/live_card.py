"""The card of a notebook that is updated in place, without a widget.

IPython gives an output an id, under which it is replaced. So the saved file has the last state, as
HTML and as text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._display.live.displays import notebook_shell
from aiocheckpoint._display.live.live_run_card import LiveRunCard
from aiocheckpoint._display.live.live_runs_card import LiveRunsCard
from aiocheckpoint._display.live.painter import Painter, count_painters
from aiocheckpoint._model.followers import Follower

if TYPE_CHECKING:
    from aiocheckpoint._display.live.displays import Display, DisplaySubject
    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event

__all__ = ["CardContent", "LiveCard", "make_card"]

_LATE_SECONDS = 0.5
"""A run that is shorter has no card that was not asked for."""
_MOST_CARDS = 10
"""The most cards at once that were not asked for, as of hundreds of runs in one `gather`."""


class CardContent(Protocol):
    """What a card shows."""

    @property
    def marks(self) -> object:
        """What there is to show. Another value where there is something new."""

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""

    def take(self, event: Event) -> None:
        """Take a rare event, in any thread."""

    def end(self, error: BaseException | None) -> None:
        """Take the exception that ends the call, or None."""

    def drawn(self) -> tuple[str, str]:
        """Give the present state as HTML and as text."""
        raise NotImplementedError


def make_card(shown: DisplaySubject, *, late: bool) -> Display | None:
    """Make the card of one call of a flow.

    Args:
        shown: What it shows.
        late: Whether nobody asked for it. It comes after half a second then, if at all.
    """
    if late and count_painters() >= _MOST_CARDS:
        return None
    content: CardContent = LiveRunsCard(shown) if shown.many else LiveRunCard(shown)
    return LiveCard(content, notebook_shell(), shown.flow, late=_LATE_SECONDS if late else None)


class LiveCard(Follower):
    """A card that is updated in place while a run is in progress.

    Args:
        content: What it shows.
        shell: The shell of IPython.
        flow: Name of the flow, for the log.
        late: Seconds after which it comes. None for at once.
    """

    def __init__(
        self,
        content: CardContent,
        shell: Any,  # noqa: ANN401 - of IPython
        flow: str,
        *,
        late: float | None = None,
    ) -> None:
        self._content, self._shell = content, shell
        self._painter = Painter(self._paint, flow, late=late, marks=lambda: content.marks)
        self._display_id = f"aiocheckpoint-{os.urandom(8).hex()}"
        self._last: tuple[str, str] | None = None

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""
        self._content.follow(run)

    def hear(self, event: Event) -> None:
        """Take a rare event."""
        if not self._painter.is_over:
            self._content.take(event)
            self._painter.wake()

    def close(self, error: BaseException | None) -> None:
        """Show the last state, and end."""
        self._content.end(error)
        self._painter.close()

    def _paint(self) -> None:
        shown = self._content.drawn()
        if shown == self._last:
            return
        html, text = shown
        data = {"text/html": html, "text/plain": text}
        transient = {"display_id": self._display_id}
        # The publisher is another one in a cell of `%%capture`.
        publish = self._shell.display_pub.publish
        publish(data=data, metadata={}, transient=transient, update=self._last is not None)
        self._last = shown
