"""A header as a card and as text: those of the run, as far as a header tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._display.cards.run_card import run_card, run_text
from aiocheckpoint._display.run_facts import gone_words
from aiocheckpoint.look._views import run_view

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.look import RunView

__all__ = ["header_card", "header_text", "view_of_header"]


def header_card(header: Header) -> str:
    """Show a header as HTML of at most 20 KB."""
    return run_card(view_of_header(header))


def header_text(header: Header) -> str:
    """Show a header in lines of text."""
    return run_text(view_of_header(header))


def view_of_header(header: Header) -> RunView:
    """The run of a header. It may be of an older snapshot, and say nothing of the process now.

    Whether its signature was checked, it does not say either.
    """
    view = run_view(header, "", size=0, verified=None, damage=None)
    return replace(view, stale=bool(gone_words(header)), sizes=header.sizes, signed_by=None)
