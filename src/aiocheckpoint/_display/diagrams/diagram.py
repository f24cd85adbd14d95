"""`Diagram`: a flow, or a run of it, as a picture in three formats."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from aiocheckpoint._texts import counted, quoted
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep
    from aiocheckpoint.look import RunView

    class _Printer(Protocol):
        def text(self, text: str) -> None: ...


__all__ = [
    "Diagram",
    "DiagramFormat",
    "checked_format",
    "diagram_of_flow",
    "diagram_of_run",
    "format_of",
]

DiagramFormat = Literal["text", "mermaid", "svg"]
"""The formats of diagrams."""

_ENDINGS: dict[str, DiagramFormat] = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".txt": "text",
}


class Diagram:
    """A flow, or a run of it, as a picture. `cp.diagram()` gives it, with no steps executed.

    Notebooks show the picture, `print(diagram)` its text, and `diagram.save(path)` writes a file.
    The same flow has the same bytes each time, so that a file can be kept in a repository. Of more
    than 100 steps, the first and the last are drawn, and those around the position of the run.

    Attributes:
        title: What is drawn, such as "orders: 4 steps".
        format: The format that notebooks show: "text", "mermaid" or "svg".
    """

    def __init__(
        self,
        title: str,
        steps: Sequence[DiagramStep],
        count: int | None = None,
        *,
        at: int | None = None,
        format: DiagramFormat = "svg",  # noqa: A002 - as in `CheckpointFlow.diagram`
    ) -> None:
        self.title = title
        self.format: DiagramFormat = format
        self._steps, self._at = tuple(steps), at
        self._count = len(self._steps) if count is None else count

    @property
    def steps(self) -> tuple[DiagramStep, ...]:
        """The steps that are drawn, as records with `to_json()`."""
        from aiocheckpoint._display.diagrams.diagram_steps import folded  # noqa: PLC0415

        return folded(self._steps, self._at)

    @property
    def all_steps(self) -> tuple[DiagramStep, ...]:
        """The same records of all steps, also of those that are not drawn."""
        return self._steps

    @property
    def text(self) -> str:
        """The picture as lines of text, with the title as the first one."""
        return self._text(ascii_only=False)

    @property
    def ascii(self) -> str:
        """The same in ASCII."""
        return self._text(ascii_only=True)

    @property
    def mermaid(self) -> str:
        """The picture as text of Mermaid, which GitHub and JupyterLab draw."""
        from aiocheckpoint._display.diagrams.diagram_mermaid import mermaid_of  # noqa: PLC0415

        return mermaid_of(self._steps, self._count, title=self.title, at=self._at)

    @property
    def svg(self) -> str:
        """The picture as SVG, in ASCII. As a file it follows a light or dark page."""
        return self._svg(alone=True)

    def save(
        self,
        path: str | os.PathLike[str],
        format: DiagramFormat | None = None,  # noqa: A002 - as in `CheckpointFlow.diagram`
    ) -> None:
        """Write the picture into a file, whole or not at all.

        Args:
            path: The file. An old one is replaced.
            format: The format. By default the ending says it: ".svg", ".mmd" or ".mermaid", ".txt".

        Raises:
            InvalidTypeError, InvalidValueError: `path` is no path, or its ending says no format
                and `format` is left out, or is another word.
            StorageError: The file cannot be written, or its directory is missing.
        """
        from aiocheckpoint.handlers._replacing import replacing  # noqa: PLC0415 - few save

        chosen = format_of(path) if format is None else checked_format(format)
        with replacing(path) as temporary:
            temporary.write_bytes(f"{self.drawn(chosen)}\n".encode())

    def drawn(self, format: DiagramFormat) -> str:  # noqa: A002 - as in `CheckpointFlow.diagram`
        """The picture in a format.

        Raises:
            InvalidTypeError, InvalidValueError: `format` is none of "text", "mermaid" and "svg".
        """
        drawn: str = getattr(self, checked_format(format))
        return drawn

    def __repr__(self) -> str:
        return f"Diagram({self.title!r}, format={self.format!r})"

    def __str__(self) -> str:
        """The text. For the format "mermaid" that of Mermaid."""
        return self.mermaid if self.format == "mermaid" else self.text

    def _repr_html_(self) -> str | None:
        """The picture, for notebooks. It takes the colours of the page."""
        if self.format == "svg":
            return self._svg(alone=False)
        if self.format == "text":
            from aiocheckpoint._display.html import lines_of  # noqa: PLC0415 - for notebooks

            return lines_of(self.text, len(self.text))
        return None

    def _repr_svg_(self) -> str | None:
        """The picture, for notebooks that show no HTML."""
        return self.svg if self.format == "svg" else None

    def _repr_markdown_(self) -> str | None:
        """The text of Mermaid, for notebooks, which draw it. No name has a backtick there."""
        return f"```mermaid\n{self.mermaid}\n```" if self.format == "mermaid" else None

    def _repr_pretty_(self, printer: _Printer, _: object) -> None:
        """The text, for IPython, which stores it beside the picture."""
        printer.text(str(self))

    def _svg(self, *, alone: bool) -> str:
        from aiocheckpoint._display.diagrams.diagram_svg import svg_of  # noqa: PLC0415

        return svg_of(self.steps, self._count, title=self.title, alone=alone)

    def _text(self, *, ascii_only: bool) -> str:
        from aiocheckpoint._display.diagrams.diagram_text import text_of  # noqa: PLC0415

        return text_of(self.steps, self._count, title=self.title, ascii_only=ascii_only)


def diagram_of_run(
    run: RunView,
    steps: Sequence[DiagramStep],
    format: DiagramFormat = "svg",  # noqa: A002 - as in `CheckpointFlow.diagram`
) -> Diagram:
    """Draw a run. Of a damaged one no step is known, and those of its flow are drawn.

    Args:
        run: The run.
        steps: The steps of its flow, where its code is there.
        format: The format that is shown.
    """
    from aiocheckpoint._display.diagrams.diagram_steps import of_run  # noqa: PLC0415
    from aiocheckpoint._display.run_facts import run_name  # noqa: PLC0415

    title = f"{run_name(run)} of {run.flow}: {run.status}"
    if not run.steps:
        return Diagram(title, steps, format=format)
    drawn = of_run(run, steps)
    return Diagram(title, drawn, run.step_count, at=run.position, format=format)


def diagram_of_flow(
    name: str,
    steps: Sequence[DiagramStep],
    count: int | None = None,
    format: DiagramFormat = "svg",  # noqa: A002 - as in `CheckpointFlow.diagram`
) -> Diagram:
    """Draw a flow.

    Args:
        name: Its name.
        steps: Its steps.
        count: Their number, where it is not that of `steps`.
        format: The format that is shown.
    """
    number = len(steps) if count is None else count
    how = "" if number else ". Register them with @cp.add_step()"
    return Diagram(f"{name}: {counted(number, 'step')}{how}", steps, count, format=format)


def checked_format(word: object) -> DiagramFormat:
    """Give a format back.

    Raises:
        InvalidTypeError: It is no text.
        InvalidValueError: It is another word.
    """
    if not isinstance(word, str):
        raise InvalidTypeError(f"format= is a text, not a {type(word).__name__}.")
    for known in get_args(DiagramFormat):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise InvalidValueError(f"format={quoted(word)}: it is 'text', 'mermaid' or 'svg'.")


def format_of(path: str | os.PathLike[str]) -> DiagramFormat:
    """Find the format that the ending of a file says.

    Raises:
        InvalidTypeError: It is no path.
        InvalidValueError: The ending says none.
    """
    if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidTypeError(f"the path of a diagram is a path, not a {type(path).__name__}.")
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in _ENDINGS:
        raise InvalidValueError(
            f"the ending {quoted(ending)} says no format. Give format='text', 'mermaid' or 'svg', "
            f"or one of the endings {', '.join(_ENDINGS)}."
        )
    return _ENDINGS[ending]
