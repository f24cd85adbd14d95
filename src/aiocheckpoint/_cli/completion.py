"""Completion of command lines by argcomplete: commands, options, flows, runs and steps.

The shell starts the program at each press of its key. Runs and steps are read from a bare store.
The code of a module target is not imported for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from itertools import chain
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from aiocheckpoint._cli.command_parser import PROGRAM
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.parsers import load_command, make_parser
from aiocheckpoint._cli.target import target_and_runs
from aiocheckpoint._model.header import Status
from aiocheckpoint.errors import SeveralFlowsError
from aiocheckpoint.handlers._known_handlers import find_class
from aiocheckpoint.handlers._run_filter import RunFilter
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint.look import RunView, Store

    _Completer = Callable[..., Iterable[str]]

_Found = TypeVar("_Found")

__all__ = ["ASKED", "complete"]

ASKED = "_ARGCOMPLETE"
"""The environment variable by which the shell asks. It has the place of the program, from 1 on."""
_SECONDS = 0.05
"""After so long nothing more is read. A press of the key must not wait for a store."""
_MOST = 200
_STEP_OPTIONS = ("--step", "--from", "--checkpoint", "--until", "--goto")


def complete() -> int:
    """Answer the shell, and leave the process.

    Returns:
        1, as argcomplete is not installed: nothing is completed.

    Raises:
        SystemExit: The shell has its answer.
    """
    try:
        import argcomplete  # noqa: PLC0415 - may be missing, and no command needs it
    except ImportError:
        return 1
    parser: argparse.ArgumentParser = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False)
    parser.add_argument("--version", action="store_true")
    parser.add_argument("command", choices=list(SUMMARIES))
    name = _typed_command(argcomplete.lexers.split_line)
    if name is not None:
        parser = _with_completers(make_parser(load_command(name)))
        # argcomplete leaves out the words before the one that it takes for the program.
        os.environ[ASKED] = str(int(os.environ[ASKED]) + 1)
    argcomplete.autocomplete(
        parser,
        always_complete_options=False,
        print_suppressed=True,
        default_completer=argcomplete.completers.SuppressCompleter(),
        exit_method=sys.exit,
    )
    return 1


def _typed_command(split_line: Callable[[str, int], Any]) -> str | None:
    """The command of the line, if the cursor is behind it."""
    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    behind = words[int(os.environ[ASKED]) :]
    return behind[0] if behind and behind[0] in SUMMARIES else None


def _with_completers(parser: CommandParser) -> CommandParser:
    """Let the options of a command complete by what they mean."""
    from argcomplete.completers import DirectoriesCompleter, FilesCompleter  # noqa: PLC0415

    files = FilesCompleter()
    stored = _Stored(parser, files)
    known: dict[str, _Completer] = {
        "--target": files,
        "--secret-file": files,
        "--check": files,
        "--app-dir": DirectoriesCompleter(),
        "--flow": stored.flows,
        "--status": lambda **_: get_args(Status),
        **dict.fromkeys(_STEP_OPTIONS, stored.steps),
    }
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        for option in action.option_strings:
            if option in known:
                action.completer = known[option]  # type: ignore[attr-defined]
        if action.dest == "words":
            action.completer = stored.words  # type: ignore[attr-defined]
    return parser


class _Stored:
    """Completes by what the bare store of a half-typed command line holds.

    Args:
        parser: The parser of the command.
        files: Completes paths.
    """

    def __init__(self, parser: CommandParser, files: _Completer) -> None:
        self._most_runs = parser.most_runs
        self._files = files

    def words(self, prefix: str, parsed_args: Namespace, **_: object) -> Iterable[str]:
        """The target, and the runs behind it."""
        words = parsed_args.words or []
        has_target = parsed_args.target is not None or bool(words)
        takes_run = self._most_runs is None or self._most_runs > len(words) - 1
        runs = self._runs(prefix, parsed_args) if takes_run else ()
        return runs if has_target else chain(runs, self._files(prefix))

    def flows(self, parsed_args: Namespace, **_: object) -> Iterable[str]:
        """The flows of the store."""
        return [one.flow for one in self._read(parsed_args, lambda store: store.flows())]

    def steps(self, parsed_args: Namespace, **_: object) -> Iterable[str]:
        """The steps of the runs that were begun last."""
        runs = self._read(parsed_args, lambda store: _newest(store, parsed_args.flow, RunFilter()))
        return [step.name for run in runs for step in run.steps]

    def _runs(self, prefix: str, parsed_args: Namespace) -> Iterable[str]:
        glob = "".join(f"[{one}]" if one in "*?[" else one for one in prefix) + "*"
        where = RunFilter(ids=glob)
        runs = self._read(parsed_args, lambda store: _newest(store, parsed_args.flow, where, _MOST))
        return [run.run_id for run in runs if run.run_id and _is_word(run.run_id)]

    def _read(
        self, parsed_args: Namespace, read: Callable[[Store], Iterable[_Found]]
    ) -> list[_Found]:
        """Read for a moment in a thread of its own, and give what has come by then."""
        found = list[_Found]()

        def work() -> None:
            with suppress(Exception):  # There is nobody to tell: the line is not typed yet.
                target, _ = target_and_runs(
                    parsed_args.words or [], parsed_args.target, self._most_runs, os.environ
                )
                if not target.is_module:
                    with open_store(target.text) as store:
                        for one in read(store):
                            found.append(one)

        with suppress(Exception):
            find_class("sqlite", {})  # An import of that many modules takes longer than a look.
        reading = Thread(target=work, daemon=True)
        reading.start()
        reading.join(_SECONDS)
        return [*found]


def _is_word(run_id: str) -> bool:
    """Whether the shell can show an id, and the command takes it for a run, and for no option."""
    return run_id.isprintable() and not run_id.startswith("-")


def _newest(store: Store, flow: str | None, where: RunFilter, limit: int = 1) -> Iterable[RunView]:
    """The runs of each flow that were begun last, if no flow is named."""
    try:
        yield from store.runs(where, flow=flow, limit=limit, damaged=False)
    except SeveralFlowsError as error:
        for name in error.flows:
            yield from store.runs(where, flow=name, limit=limit, damaged=False)
