"""Records of the log, on stderr, where the program has no log of its own."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._cli.output import Output

__all__ = ["told_by"]


class _Words(logging.Handler):
    """Says records as words, so that no stored text steers the terminal."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        self._output.words(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def told_by(output: Output) -> Generator[None]:
    """Let an output tell warnings and errors of the log, unless somebody set up another log."""
    before = logging.lastResort
    logging.lastResort = _Words(output)
    try:
        yield
    finally:
        logging.lastResort = before
