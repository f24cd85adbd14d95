"""Which function shows which object. Imported when the first one is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._display.cards.diff_card import diff_card, diff_text
from aiocheckpoint._display.cards.flow_card import flow_card, flow_text
from aiocheckpoint._display.cards.flow_facts import FlowFacts
from aiocheckpoint._display.cards.header_card import header_card, header_text
from aiocheckpoint._display.cards.lists import list_card, list_text
from aiocheckpoint._display.cards.plan_card import plan_card
from aiocheckpoint._display.cards.result_card import result_card, result_text
from aiocheckpoint._display.cards.run_card import run_card, run_text
from aiocheckpoint._display.cards.view_cards import (
    count_card,
    count_text,
    flow_view_card,
    flow_view_text,
    snapshot_card,
    snapshot_text,
)
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._model.shown_list import ShownList
from aiocheckpoint.look import CountView, DiffView, FlowView, RunView, SnapshotView

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Renderer", "renderer_of"]


class Renderer(NamedTuple):
    """The functions that show an object. Each gives None for one that has no card."""

    html: Callable[[Any], str | None]
    text: Callable[[Any], str | None]


_RENDERERS: dict[type, Renderer] = {
    CountView: Renderer(count_card, count_text),
    DiffView: Renderer(diff_card, diff_text),
    FlowFacts: Renderer(flow_card, flow_text),
    FlowView: Renderer(flow_view_card, flow_view_text),
    Header: Renderer(header_card, header_text),
    Plan: Renderer(plan_card, str),
    RunResult: Renderer(result_card, result_text),
    RunView: Renderer(run_card, run_text),
    ShownList: Renderer(list_card, list_text),
    SnapshotView: Renderer(snapshot_card, snapshot_text),
}


def renderer_of(kind: type) -> Renderer | None:
    """Find the functions for a class, or for the nearest of its bases."""
    found = (_RENDERERS[one] for one in kind.__mro__ if one in _RENDERERS)
    return next(found, None)
