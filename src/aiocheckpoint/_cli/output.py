"""The output of a command: data on stdout, words on stderr."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TextIO

from aiocheckpoint._cli.clipboard import put_into_clipboard
from aiocheckpoint._cli.colours import make_painter
from aiocheckpoint._cli.kept_stdout import kept_stdout
from aiocheckpoint._cli.pager import PagedStream
from aiocheckpoint._display.signs import sign_of
from aiocheckpoint._display.tables import Cell, Column, Styled, lay_out
from aiocheckpoint._texts import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from aiocheckpoint._cli.terminal import Terminal

__all__ = ["Cell", "ClosedPipe", "Column", "Form", "LostOutput", "Output", "Styled"]


Form = Literal["text", "json", "jsonl"]


class ClosedPipe(Exception):  # noqa: N818 - no error
    """The reader of the data has gone, as `head` does."""


class LostOutput(Exception):  # noqa: N818 - as `ClosedPipe`
    """Stdout cannot be written, as on a full disk. Its text is the reason."""


class Output:
    """Prints what a command gives.

    All texts may hold what strangers stored: control characters are shown, and never sent.

    Args:
        out: The stream of the data.
        err: The stream of the words for people.
        terminal: What `out` can show.
        form: "text", "json" or "jsonl".
        header: Whether tables have titles.
        wide: Whether nothing is cut on a terminal.
        must_colour: Whether colours were asked for by `--color always`.
        copies: Whether a suggested command is put into the clipboard.

    Attributes:
        form, terminal, header, wide: As given.
    """

    def __init__(
        self,
        out: TextIO | PagedStream,
        err: TextIO,
        terminal: Terminal,
        *,
        form: Form = "text",
        header: bool = True,
        wide: bool = False,
        must_colour: bool = False,
        copies: bool = False,
    ) -> None:
        self.terminal = terminal
        self.form = form
        self.header = header
        self.wide = wide
        self._out, self._err = out, err
        self._must_colour, self._copies = must_colour, copies
        self._paint: Callable[[str, str], str] | None = None
        self._tried = not terminal.colour
        self._held: list[str] = []
        self._lost: LostOutput | None = None

    @property
    def is_text(self) -> bool:
        """Whether people read it, and no program."""
        return self.form == "text"

    @property
    def is_lost(self) -> bool:
        """Whether stdout could not be written."""
        return self._lost is not None

    @property
    def width(self) -> int | None:
        """The columns to cut lines to, or None where nothing is cut."""
        return None if self.wide else self.terminal.width

    # --- data

    def data(self, *parts: Cell) -> None:
        """Print one line of text on stdout.

        Args:
            parts: The parts of the line, each a text or a text with a style.
        """
        self._send("".join(map(self._painted, parts)).rstrip(" ") + "\n")

    def block(self, text: str, indent: str = "") -> None:
        """Print a text of several lines, such as a traceback, on stdout."""
        for line in text.rstrip("\n").split("\n"):
            self.data(indent + line)

    def table(
        self,
        columns: Sequence[Column],
        rows: Iterable[Sequence[Cell]],
        *,
        titled: bool = True,
        indent: str = "",
    ) -> None:
        """Print a table on stdout. Any number of rows takes the same memory.

        Args:
            columns: The columns.
            rows: The rows, with a cell for each column.
            titled: Whether its columns have titles, unless `--no-header` takes them away.
            indent: What stands before each line.
        """
        width = None if self.width is None else self.width - len(indent)
        header = titled and self.header
        lines = lay_out(columns, rows, width=width, header=header, dots=self._dots)
        for parts in lines:
            self.data(indent, *parts)

    def json(self, document: Mapping[str, Any]) -> None:
        """Print one JSON document on stdout, with the version as its first key."""
        self._line(_document(document))

    def jsonl(self, record: Mapping[str, Any]) -> None:
        """Print one JSON object on a line of stdout, at once."""
        self._line(json.dumps(record))
        self.flush()

    def record(self, name: str, record: Mapping[str, Any]) -> None:
        """Print one record as JSON: as a document under a key, or as a line.

        Args:
            name: Its key in the document.
            record: The record.
        """
        if self.form == "jsonl":
            self.jsonl(record)
        else:
            self.json({name: record})

    def records(self, name: str, records: Iterable[Mapping[str, Any]], **facts: Any) -> None:  # noqa: ANN401 - any JSON
        """Print records as JSON: in one document, or as one line for each, as they come.

        Args:
            name: Key of the list in the document.
            records: The records, of any number.
            facts: Further keys of the document.
        """
        if self.form == "jsonl":
            for record in records:
                self.jsonl(record)
            return
        waiting = iter(records)
        first = next(waiting, None)  # Its error comes before a document begins.
        head = _document({**facts, name: []})
        self._send(head.removesuffix("]\n}"))
        between = "\n"
        for record in () if first is None else chain((first,), waiting):
            self._send(between + _indented(record))
            between = ",\n"
        self._send("]\n}\n" if between == "\n" else "\n  ]\n}\n")

    def _line(self, text: str) -> None:
        self._send(text + "\n")

    def _send(self, text: str) -> None:
        with self._sending():
            self._out.write(text)

    def flush(self) -> None:
        """Send what was printed, as the next line may come much later.

        Raises:
            ClosedPipe: Nobody reads it any longer.
            LostOutput: It cannot be written, now or before.
        """
        with self._sending():
            self._out.flush()

    @contextmanager
    def _sending(self) -> Generator[None, None, None]:
        if self._lost is not None:
            raise self._lost
        try:
            yield
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            self._lost = LostOutput(error.strerror or type(error).__name__)
            raise self._lost from None

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Let steps, and the programs that they start, print to stderr, if stdout is for JSON.

        Raises:
            ClosedPipe: Nobody reads the output any longer.
            LostOutput: It cannot be written.
        """
        if self.is_text or isinstance(self._out, PagedStream):
            yield
            return
        before = self._out
        with kept_stdout(before) as moved:
            self._out = moved
            try:
                yield
                if not self.is_lost:  # The command has gone on without it, and says so at its end.
                    self.flush()
            finally:
                self._out = before

    # --- words

    def words(self, *lines: str) -> None:
        """Say something to the person, on stderr.

        Args:
            lines: The lines. The end of a line within one, as of a stored text, is escaped.
        """
        if isinstance(self._out, PagedStream) and self._out.has_screen:
            self._held += lines
            return
        with suppress(LostOutput):  # It is said at the end.
            self.flush()
        with suppress(OSError):  # Nobody hears it, and the work goes on.
            for line in lines:
                self._err.write(harmless(line) + "\n")
            self._err.flush()

    def close(self) -> None:
        """End the pager, send what was printed, and say what was held back meanwhile."""
        if isinstance(self._out, PagedStream):
            with self._sending():
                self._out.close()
        self.flush()
        held, self._held = self._held, []
        if held:
            self.words(*held)

    def suggest(self, why: str, command: Sequence[str]) -> None:
        """Name a command that helps on, quoted for the shell, on stderr.

        Nothing is said where a word cannot be typed.

        Args:
            why: What it does, such as "What resuming would do".
            command: Its words.
        """
        if not all(map(str.isprintable, command)):
            return
        line = shlex.join(command)
        self.words(f"{why}: {line}")
        if self._copies and put_into_clipboard(line, self._err, sys.stdout):
            self.words("It is in the clipboard, if the terminal allows it.")
        elif self._copies:
            self.words("It is not copied: stdout and stderr are no terminals.")

    # --- pieces

    def sign(self, status: str) -> Styled:
        """The sign of a status, of one column. It never stands without the word."""
        sign = sign_of(status)
        return Styled(sign.sign if self.terminal.unicode else sign.ascii, status)

    def status(self, status: str) -> Styled:
        """The sign and the word of a status, in its colour."""
        return Styled(f"{self.sign(status).text} {status}", status)

    @property
    def _dots(self) -> str:
        return "…" if self.terminal.unicode else "..."

    def _painted(self, part: Cell) -> str:
        if not isinstance(part, Styled):
            return harmless(part)
        text, painter = harmless(part.text), self._painter()
        return text if painter is None or not text else painter(text, part.style)

    def _painter(self) -> Callable[[str, str], str] | None:
        if not self._tried:  # rich is imported when something is drawn.
            self._tried = True
            self._paint = make_painter(required=self._must_colour)
        return self._paint


def _document(content: Mapping[str, Any]) -> str:
    """A JSON document, with the version of its keys first."""
    from aiocheckpoint.look import JSON_VERSION  # noqa: PLC0415 - help and tables need no import

    return json.dumps({"version": JSON_VERSION, **content}, indent=2)


def _indented(record: Mapping[str, Any]) -> str:
    return "    " + json.dumps(record, indent=2).replace("\n", "\n    ")
