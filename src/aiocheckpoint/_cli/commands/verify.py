"""`aiocheckpoint verify`: every digest and signature of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.nothing_found import empty_words
from aiocheckpoint._cli.options import add_output, add_secret, add_target
from aiocheckpoint._display.run_facts import run_name
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_secret(parser)
    add_output(parser)


def _execute(context: Context) -> int:
    output, tally = context.output, _Tally()
    runs = tally.counted(context.store().verify(flow=context.flow_name))
    if output.is_text:
        _print_bad(runs, output)
        output.words(*(tally.in_words() or [empty_words(context) or "No run is stored there."]))
    else:
        output.records("runs", (run.to_json() for run in runs))
    return ExitCode.DAMAGED if tally.bad else ExitCode.DONE


class _Tally:
    """Counts runs as they pass by. Bad kept snapshots of a run are behind it."""

    def __init__(self) -> None:
        self.bad = 0
        self._runs, self._unverified = 0, 0
        self._last: tuple[str, str | None] | None = None

    def counted(self, runs: Iterable[RunView]) -> Iterator[RunView]:
        for run in runs:
            named = run.flow, run.run_id
            self._runs += named != self._last
            self._last = named
            self.bad += run.damage is not None
            self._unverified += run.damage is None and run.verified is False
            yield run

    def in_words(self) -> list[str]:
        if not self._runs:
            return []
        runs = counted(self._runs, "run", ("was", "were"))
        bad = counted(self.bad, "snapshot", ("is", "are"))
        verdict = f"{bad} bad." if self.bad else "All snapshots are sound."
        are = "is" if self._unverified == 1 else "are"
        unverified = f"{self._unverified:,} of them {are} signed, not verified: no secret given."
        return [f"{runs} checked. {verdict}", *([unverified] if self._unverified else [])]


def _print_bad(runs: Iterable[RunView], output: Output) -> None:
    for run in runs:
        if run.damage is not None:
            flow = f" of {run.flow}" if run.flow else ""
            words = f" {run_name(run)}{flow}: {run.damage} ({run.location})"
            output.data(output.sign("damaged"), words)


COMMAND = Command(
    name="verify",
    summary=SUMMARIES["verify"],
    example="aiocheckpoint verify orders.db",
    configure=_configure,
    execute=_execute,
)
