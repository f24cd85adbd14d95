"""What became of many runs: a line or record for each as it ends, and their exit code."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.output import LostOutput
from aiocheckpoint._cli.refusals import code_of_many

if TYPE_CHECKING:
    from aiocheckpoint._cli.outcomes import Outcome
    from aiocheckpoint._cli.output import Output

__all__ = ["Report"]


class Report:
    """Prints outcomes as they come, and counts them.

    Args:
        output: The output. Under "json" the outcomes are printed at the end, in one document.

    Attributes:
        failed: Whether a run has failed.
        counts: The number of outcomes by status.
    """

    def __init__(self, output: Output) -> None:
        self.failed = False
        self._output = output
        self.counts: Counter[str] = Counter()
        self._codes: Counter[ExitCode] = Counter()
        self._records: list[dict[str, Any]] = []

    def add(self, outcome: Outcome) -> None:
        """Print one outcome. The work goes on where stdout is lost."""
        self.counts[outcome.status] += 1
        self._codes[outcome.code] += 1
        self.failed = self.failed or outcome.code == ExitCode.FAILED
        if self._output.form == "json":
            self._records.append(outcome.to_json())
            return
        with suppress(LostOutput):  # The sum says what was done, and the end of the command why.
            if self._output.form == "jsonl":
                self._output.jsonl(outcome.to_json())
            else:
                self._output.data(outcome.line)
                self._output.flush()

    def end(self, words: str | None = None) -> None:
        """Print the document, and say the sum, which one run alone does not need.

        Args:
            words: What is said in the place of the sum.
        """
        if self._output.form == "json":
            with suppress(LostOutput):
                self._output.records("runs", self._records)
                self._output.flush()
        if words is not None or self.counts.total() != 1 or self._output.is_lost:
            self._output.words(self.sum if words is None else words)

    @property
    def sum(self) -> str:
        """How many runs there were of each status, in words."""
        parts = [f"{number:,} {status}" for status, number in self.counts.most_common()]
        return f"{', '.join(parts) or 'no run'}."

    def code(self, *, of_one: bool) -> ExitCode:
        """Give the exit code.

        Args:
            of_one: Whether the command was for one run that was named. It has that run's code.
        """
        if of_one and self._codes.total() == 1:
            return next(iter(self._codes))
        return code_of_many(self._codes)
