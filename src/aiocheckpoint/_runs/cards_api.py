"""The public methods that show a flow and its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.cards.cards import html_of, text_of
from aiocheckpoint._model.checks import checked_flag
from aiocheckpoint._model.shown import Shown
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.looking import make_look

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._display.cards.flow_facts import FlowFacts
    from aiocheckpoint.look import RunView

__all__ = ["FlowCards"]


class FlowCards(FlowMethods[StateT], Shown):
    """Shows the flow and its stored runs, as cards in notebooks and as text elsewhere."""

    async def ashow(self, run_id: str | None = None, *, values: bool = False) -> RunView:
        """Look at a stored run: how it stands, its steps, and the sizes of its state.

        Where older snapshots are kept, it tells what changed in each step. See `Store.run`.

        The result shows itself as a card in notebooks, and `print()` shows it as text. Nothing is
        changed, and nothing is unpickled: values are decoded without executing anything, so that
        objects are shown by the names of their classes alone.

        Args:
            run_id: The run, or None for the one without an id.
            values: Whether the keys of the state, and changes, are shown with their values, and
                the cursor.

        Returns:
            The run. Its `damage` says what is wrong with a snapshot that cannot be read, or is not
            signed as the flow demands.

        Raises:
            RunNotFoundError: Nothing is stored of the run.
            InvalidTypeError, InvalidValueError: `run_id` is no id, or the handler is a user's own
                class, which stores one state.
            StorageError: The store cannot be read.
            IncompatibleSnapshotError: It is a database of a later version of this library.
        """
        look = self._look(run_id, values=values)
        backend = await self._core.reading_backend()
        return await backend.read(look)

    def show(self, run_id: str | None = None, *, values: bool = False) -> RunView:
        """Look at a stored run, as `ashow` does, in scripts and notebooks."""
        return self._look(run_id, values=values)()

    def _look(self, run_id: str | None, *, values: bool) -> Callable[[], RunView]:
        shown = checked_flag("values", values)
        return make_look(self._core, run_id, "show", values=shown, sizes=True, diffs=True)

    def __str__(self) -> str:
        """The same as the card, in a few lines of text. `repr()` is one line."""
        facts = self._facts()
        text = None if facts is None else text_of(facts)
        return repr(self) if text is None else text

    def _repr_html_(self) -> str | None:
        """The card, for notebooks."""
        facts = self._facts()
        return None if facts is None else html_of(facts)

    def _facts(self) -> FlowFacts | None:
        if "_core" not in self.__dict__:  # A subclass may show itself before `super().__init__`.
            return None
        from aiocheckpoint._runs.shown_flow import facts_of_flow  # noqa: PLC0415 - shown rarely

        try:
            return facts_of_flow(self._core)
        except Exception:  # noqa: BLE001 - a handler of a user's own raises anything
            return None
