"""Objects that show themselves: as a card in notebooks, and in a few lines of text elsewhere.

How they look is decided in `_display/`, which imports this package. So it registers its functions
here, in `_display/cards/cards.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    _Render: TypeAlias = Callable[[Any], str | None]

    class _Printer(Protocol):
        """The printer of IPython, as far as it is used here."""

        def text(self, text: str) -> None: ...

        def break_(self) -> None: ...


__all__ = ["Shown", "register_cards"]


class _Renderers:
    """The functions that render. Without any, objects are shown by their `repr`."""

    html: _Render = staticmethod(lambda _: None)
    text: _Render = staticmethod(lambda _: None)


def register_cards(*, html: Callable[[Any], str | None], text: Callable[[Any], str | None]) -> None:
    """Register the functions that render all objects.

    Args:
        html: Gives the HTML of an object, or None where it has no card. It raises nothing.
        text: Gives its text, or None. It raises nothing.
    """
    _Renderers.html = staticmethod(html)
    _Renderers.text = staticmethod(text)


class Shown:
    """Base of objects that show themselves. `repr()` stays as the subclass has it."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - those of any base
        """Let IPython find the text: it looks at each class alone, and takes a `__repr__` first.

        A class of a user that has one of the two keeps it.
        """
        super().__init_subclass__(**options)
        is_ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if "_repr_pretty_" not in vars(cls) and (is_ours or "__repr__" not in vars(cls)):
            cls._repr_pretty_ = Shown._repr_pretty_  # type: ignore[method-assign]

    def __str__(self) -> str:
        """The same as the card, in a few lines of text."""
        text = _Renderers.text(self)
        return repr(self) if text is None else text

    def _repr_html_(self) -> str | None:
        """The card, for notebooks. None where there is none."""
        return _Renderers.html(self)

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # noqa: FBT001 - IPython's
        """The text, for IPython, which stores it beside the card."""
        text = repr(self) if cycle else str(self)
        for number, line in enumerate(text.split("\n")):
            if number:
                printer.break_()
            printer.text(line)
