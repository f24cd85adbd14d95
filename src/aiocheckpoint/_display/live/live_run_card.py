"""The card of one run in progress: the card of a run, as it is now."""

from __future__ import annotations

from aiocheckpoint._display.cards.run_card import run_card, run_text
from aiocheckpoint._display.live.followed import FollowedRun

__all__ = ["LiveRunCard"]


class LiveRunCard(FollowedRun):
    """The picture of one run.

    Args:
        shown: What the display shows.
    """

    def drawn(self) -> tuple[str, str]:
        """Give its present state as HTML and as text."""
        view = self.view()
        return run_card(view), run_text(view)
