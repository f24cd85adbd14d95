"""Shows objects, and raises nothing: a display that fails must not break the cell or log line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint._model.shown import register_cards

if TYPE_CHECKING:
    from aiocheckpoint._display.cards.renderers import Renderer

__all__ = ["html_of", "register", "text_of"]


def html_of(shown: object) -> str | None:
    """Give the card of an object, or None where there is none."""
    try:
        renderer = _renderer_of(shown)
        return None if renderer is None else renderer.html(shown)
    except Exception as error:  # noqa: BLE001 - records of strangers, and objects of users
        _log_failed(shown, error)
        return None


def text_of(shown: object) -> str | None:
    """Give the text of an object, or None where there is none."""
    try:
        renderer = _renderer_of(shown)
        return None if renderer is None else renderer.text(shown)
    except Exception as error:  # noqa: BLE001 - as above
        _log_failed(shown, error)
        return None


def _renderer_of(shown: object) -> Renderer | None:
    from aiocheckpoint._display.cards.renderers import renderer_of  # noqa: PLC0415 - shown rarely

    return renderer_of(type(shown))


def _log_failed(shown: object, error: Exception) -> None:
    kind = type(error).__qualname__
    log(logging.DEBUG, NOWHERE, "a %s could not be shown: %s", type(shown).__qualname__, kind)


def register() -> None:
    """Let objects show themselves by these functions."""
    register_cards(html=html_of, text=text_of)
