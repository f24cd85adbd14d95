"""The entry point: words in, exit code out."""

# PYTHON_ARGCOMPLETE_OK: the global completion of argcomplete looks for this mark.

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TextIO

from aiocheckpoint._cli.command_parser import PROGRAM, HelpPrinted
from aiocheckpoint._cli.context import Context
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.failures import code_of, say_why
from aiocheckpoint._cli.flow_lists import list_flows
from aiocheckpoint._cli.log_records import told_by
from aiocheckpoint._cli.not_found import explained
from aiocheckpoint._cli.output import ClosedPipe, LostOutput, Output
from aiocheckpoint._cli.pager import PagedStream, PagerClosed, pager_command
from aiocheckpoint._cli.parsers import general_help, load_command, make_parser
from aiocheckpoint._cli.repeated import given_words
from aiocheckpoint._cli.streams import settled, survive_streams
from aiocheckpoint._cli.target import target_and_runs
from aiocheckpoint._cli.terminal import Terminal
from aiocheckpoint._version import __version__
from aiocheckpoint.errors import CheckpointError, SeveralFlowsError

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Do what the words of a command line say.

    Args:
        argv: The words behind the name of the program. By default those of this process.

    Returns:
        The exit code.
    """
    if "_ARGCOMPLETE" in os.environ:
        from aiocheckpoint._cli.completion import complete  # noqa: PLC0415 - the shell asks

        return complete()
    survive_streams()
    words = sys.argv[1:] if argv is None else argv
    try:
        return settled(_dispatch(words))
    except ClosedPipe:
        return settled(ExitCode.CLOSED_PIPE)
    except LostOutput as lost:
        return settled(ExitCode.FAILED, str(lost))
    except KeyboardInterrupt:
        return settled(ExitCode.INTERRUPTED)


def _dispatch(words: list[str]) -> int:
    plain = Output(sys.stdout, sys.stderr, Terminal(None, None, colour=False, unicode=True))
    if not words or words[0] in {"-h", "--help", "--version"}:
        plain.block(f"{PROGRAM} {__version__}" if "--version" in words else general_help())
        plain.close()
        return ExitCode.DONE if words else ExitCode.USAGE
    try:
        return _execute(words[0], words[1:])
    except (ClosedPipe, LostOutput):
        raise
    except HelpPrinted:
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the outermost place, which tells of all
        say_why(error, plain, given_words(words, os.environ))
        return code_of(error)


def _execute(name: str, words: list[str]) -> int:
    command = load_command(name, words)
    parser = make_parser(command)
    arguments = parser.parsed(words, os.environ)
    target, runs = target_and_runs(arguments.words, arguments.target, parser.most_runs, os.environ)
    output = _make_output(arguments)
    context = Context(name, arguments, output, target, runs)
    with closing(output), context, told_by(output), suppress(PagerClosed):
        try:
            return command.execute(context)
        except SeveralFlowsError as error:
            list_flows(context.store().flows(), output)
            output.words("Name one of these flows by --flow.")
            return code_of(error)
        except CheckpointError as error:
            shown = explained(error, context)
            if shown is error:
                raise
            raise shown from None
    return ExitCode.DONE  # The person has left the pager.


def _make_output(arguments: Namespace) -> Output:
    terminal = Terminal.of(sys.stdout, arguments.color, os.environ)
    return Output(
        _stream_for(arguments, terminal),
        sys.stderr,
        terminal,
        form=arguments.output,
        header=not arguments.no_header,
        wide=arguments.wide,
        must_colour=arguments.color == "always",
        copies=getattr(arguments, "copy", False),
    )


def _stream_for(arguments: Namespace, terminal: Terminal) -> TextIO | PagedStream:
    wanted: bool | None = getattr(arguments, "pager", None)
    if wanted is None or terminal.width is None or arguments.output != "text":
        return sys.stdout
    command = pager_command(os.environ, wanted=wanted)
    return PagedStream(sys.stdout, terminal, command) if command else sys.stdout
