"""The parser of one command: options, environment variables, and the words before them."""

from __future__ import annotations

import argparse
import difflib
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from aiocheckpoint._cli.output import ClosedPipe, LostOutput
from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from _typeshed import SupportsWrite

__all__ = ["PROGRAM", "CommandParser", "HelpPrinted", "OptionGroup", "nearest", "variable_of"]

PROGRAM = "aiocheckpoint"
_CLOSE = 0.74
"""The least ratio of two words that may be one with a typo. "status" and "state" have 0.73."""
_NO = {"", "0", "false", "no", "off"}


def nearest(word: str, known: Sequence[str]) -> str:
    """Give the end of a sentence that suggests the known word which is nearest, or ""."""
    # Two dashes in common make no two options alike.
    names = {one.removeprefix("--"): one for one in known}
    found = difflib.get_close_matches(word.removeprefix("--"), names, n=1, cutoff=_CLOSE)
    return f" Did you mean {names[found[0]]!r}?" if found else ""


def variable_of(option: str) -> str:
    """Give the environment variable that sets an option, as in AIOCHECKPOINT_NO_HEADER."""
    return "AIOCHECKPOINT_" + option.removeprefix("--").upper().replace("-", "_")


class HelpPrinted(Exception):  # noqa: N818 - no error
    """`--help` was asked for, and has been printed."""


class OptionGroup(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *names: str, **options: Any) -> Any:  # noqa: ANN401 - argparse's
        """Add an option, as `argparse` does."""


class CommandParser(argparse.ArgumentParser):
    """The parser of one command. It raises its problems, and never exits.

    Args:
        name: The name of the command.
        options: As for `argparse.ArgumentParser`.

    Attributes:
        name: As given.
        most_runs: How many runs follow the target at most. None is for any number.
        run_word: What they are called in the usage.
    """

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(prog=f"{PROGRAM} {name}", allow_abbrev=False, **options)
        self.name = name
        self.most_runs: int | None = 0
        self.run_word = "RUN"
        self._settings: dict[str, bool] = {}
        self._variables: set[str] = set()

    def add_setting(
        self,
        option: str,
        *,
        help: str,  # noqa: A002 - argparse's word
        group: OptionGroup | None = None,
        **options: Any,  # noqa: ANN401 - those of `add_argument`
    ) -> None:
        """Add an option that an environment variable can set as well.

        Args:
            option: The long option.
            help: Its help, without a full stop.
            group: The group of options that lists it.
            options: As for `add_argument`.
        """
        self._settings[option] = options.get("action") == "store_true"
        text = f"{help} ({variable_of(option)})"
        (self if group is None else group).add_argument(option, help=text, **options)

    def parsed(self, words: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
        """Read the words of a command line. `given` has the options that stand in it.

        Args:
            words: The words behind the name of the command.
            environ: The environment, whose settings come before those words.

        Raises:
            UsageProblem: A word is wrong.
        """
        options = takewhile(lambda word: word != "--", words)  # Runs follow it.
        given = {word.partition("=")[0] for word in options}
        set_outside = [*self._from_environment(environ, given)]
        self._variables = {word.partition("=")[0] for word in set_outside}
        # Options may stand between the words, which a plain parse refuses.
        arguments = self.parse_intermixed_args([*set_outside, *words])
        arguments.given = given
        return arguments

    def _from_environment(self, environ: Mapping[str, str], given: set[str]) -> Iterator[str]:
        for option, is_flag in self._settings.items():
            value = environ.get(variable_of(option))
            if value is None or option in given:
                continue
            if not is_flag:
                yield f"{option}={value}"
            elif value.lower() not in _NO:
                yield option

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. `argparse` passes over a stream that cannot be written."""
        try:
            (file or sys.stdout).write(self.format_help())
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            raise LostOutput(error.strerror) from None

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002
        """End after the help, which is all that argparse exits for here."""
        raise HelpPrinted

    def error(self, message: str) -> NoReturn:
        """Raise a problem in the words of argparse, with the nearest option that exists."""
        option = message.removeprefix("argument ").split(":")[0]
        if option in self._variables:
            raise UsageProblem(f"the environment variable {variable_of(option)}: {message}.")
        word = message.removeprefix("unrecognized arguments: ").split(" ")[0]
        hint = nearest(word, [*self._option_string_actions]) if word.startswith("--") else ""
        raise UsageProblem(f"{message}.{hint}", behind=[f"{self.prog} --help lists what it takes."])
