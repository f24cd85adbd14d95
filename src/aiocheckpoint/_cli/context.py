"""What a command works with: its arguments, its output, and what the target opens."""

from __future__ import annotations

import sys
import traceback
from contextlib import ExitStack, redirect_stdout
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint._cli.bare import open_bare
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.filters import filter_of
from aiocheckpoint._cli.given_secrets import secrets_of
from aiocheckpoint._cli.problems import CommandProblem, NeedsModuleTarget, UsageProblem
from aiocheckpoint._cli.stdin_ids import ids_of
from aiocheckpoint._cli.target_hints import module_hint
from aiocheckpoint._runs.targets import load_target
from aiocheckpoint.errors import (
    InvalidValueError,
    MissingExtraError,
    RunNotFoundError,
    SeveralFlowsError,
)
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers import StateHandler
from aiocheckpoint.handlers._urls import url_scheme

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._cli.output import Output
    from aiocheckpoint._cli.target import Target
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.look import Store

__all__ = ["Context"]

_FRAMES = 8
"""Frames that the traceback of a module shows, the newest."""


class Context:
    """What a command works with.

    Args:
        command: The name of the command.
        arguments: Its options.
        output: Its output.
        target: The target, not opened yet.
        runs: The runs named behind the target.

    Attributes:
        command, arguments, output, target, runs: As given.
    """

    def __init__(
        self,
        command: str,
        arguments: Namespace,
        output: Output,
        target: Target,
        runs: tuple[str, ...] = (),
    ) -> None:
        self.command = command
        self.arguments = arguments
        self.output = output
        self.target = target
        self.runs = runs
        self._opened = ExitStack()
        self._flow: CheckpointFlow[Any] | None = None
        self._store: Store | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the store."""
        self._opened.close()

    @property
    def flow_name(self) -> str | None:
        """The flow asked for: of `--flow`, or that of a module target. None where none is named."""
        if self.target.is_module:
            return self.flow().name
        named: str | None = self.arguments.flow
        return named

    @property
    def place(self) -> str:
        """The store in words: a bare one on this machine as it was given."""
        is_path = not self.target.is_module and url_scheme(self.target.text) is None
        return str(self.target) if is_path else self.store().place

    @property
    def run_id(self) -> str | None:
        """The one run that a command for one run is given, or None for the run without an id."""
        return self.runs[0] if self.runs else None

    @cached_property
    def secrets(self) -> list[bytes] | None:
        """The secrets that the options name, or None. Read once, as a file may be a pipe.

        Raises:
            UsageProblem: A variable is not set, or a file cannot be read.
        """
        return secrets_of(self.arguments)

    def store(self) -> Store:
        """Open what the target stores, for reading alone.

        Raises:
            CheckpointError: As `aiocheckpoint.look.open_store` has them.
        """
        if self._store is None:
            self._store = self._opened.enter_context(self._open_store())
        return self._store

    def _open_store(self) -> Store:
        from aiocheckpoint.look import open_store, store_of  # noqa: PLC0415 - not every command reads

        if self.target.is_module:
            return store_of(self._handler_of_snapshots())
        return open_store(self.target.text, secret=self.secrets)

    def _handler_of_snapshots(self) -> StateHandler:
        handler = self.flow().handler
        if isinstance(handler, StateHandler):
            return handler
        raise UsageProblem(
            f"{self.target} stores dicts by {type(handler).__qualname__}, which has no snapshots "
            "to look at."
        )

    def flow(self) -> CheckpointFlow[Any]:
        """Load the flow of a module target.

        Raises:
            NeedsModuleTarget: The target is a bare store.
            UsageProblem: The module cannot be imported, or the attribute is no flow.
        """
        if not self.target.is_module:
            raise NeedsModuleTarget(self.command, str(self.target), module_hint(self.target.text))
        if self._flow is None:
            self._check_module_options()
            self._flow = self._load_flow()
            if isinstance(self._flow.handler, StateHandler):
                self._opened.callback(self._flow.handler.close_unused)
        return self._flow

    def _load_flow(self) -> CheckpointFlow[Any]:
        try:
            # What the module prints is no data of this command.
            with redirect_stdout(sys.stderr):
                return load_target(
                    self.target.text,
                    CheckpointFlow,
                    folder=self.arguments.app_dir,
                    factory=self.arguments.factory,
                )
        except InvalidValueError as error:
            # Of a package that is missing, the message has the remedy.
            lacks = isinstance(error.__cause__, MissingExtraError)
            before = () if lacks else _traceback_of(error.__cause__)
            # The last line of the traceback has what the error says behind its colon.
            words = f"{str(error).partition(': ')[0]}." if before else str(error)
            raise UsageProblem(words, before=before) from None

    def _check_module_options(self) -> None:
        for option in ("--flow", "--secret-env", "--secret-file"):
            if option in self.arguments.given:  # A variable may be set for other targets.
                raise UsageProblem(
                    f"{option} is for bare stores. The flow of a module target "
                    "has a name and a secret of its own."
                )

    def writable_flow(self) -> CheckpointFlow[Any]:
        """Give a flow to change headers with: of a module target, or of a bare store.

        That of a bare store has no steps, so that it can load no state and run nothing.

        Raises:
            UsageProblem: A bare store is given without `--write`.
            SeveralFlowsError: It has several flows, and none is named.
        """
        if self.target.is_module:
            return self.flow()
        self.check_write()
        name = self._only_flow()
        handler = self._bare_handler(name)
        return CheckpointFlow(self.target.text, handler, name=name)

    def _bare_handler(self, flow: str | None) -> StateHandler:
        handler = open_bare(self.target.text, flow, self.secrets)
        self._opened.callback(handler.close_unused)
        return handler

    def handler(self, *, writes: bool = False) -> StateHandler:
        """Give the handler of the store as a whole, whatever flows it has.

        Args:
            writes: Whether the command changes the store, so that a bare one needs `--write`.

        Raises:
            UsageProblem: A bare store is given without `--write`, or the flow has a handler that
                keeps one dict.
            CheckpointError: The store cannot be read, or there is none.
        """
        if not self.target.is_module:
            if writes:
                self.check_write()
            self.store()  # Its error says that there is none.
            return self._bare_handler(None)
        return self._handler_of_snapshots()

    def check_write(self) -> None:
        """Check that the store may be changed, before anybody is asked whether it is to be.

        Raises:
            UsageProblem: A bare store is given without `--write`.
            CheckpointError: There is no store, or it cannot be read.
        """
        if self.target.is_module:
            return
        self.store()  # Its error says that there is none.
        if not self.arguments.write:
            raise UsageProblem(
                f"{self.target} is a bare store, which is opened for reading alone. "
                "Add --write to let it be changed."
            )

    def _only_flow(self) -> str | None:
        """The name of the flow, or None for that of the path: of gumly's files, and of no runs.

        Raises:
            SeveralFlowsError: There are several, and none is named.
        """
        named = self.flow_name
        if named is not None:
            return named
        # Files that are damaged, and those of gumly, are of no flow that is known.
        names = tuple(one.flow for one in self.store().flows() if one.flow)
        if len(names) > 1:
            raise SeveralFlowsError(str(self.target), names)
        return names[0] if names else None

    def check_flow(self) -> None:
        """Check that the flow of `--flow` is there, for a command that has found nothing of it.

        Raises:
            CommandProblem: The store has no flow of that name.
        """
        named: str | None = self.arguments.flow
        names = [one.flow for one in self.store().flows()]
        if named is not None and named not in names:
            listed = f"It has {', '.join(names)}." if names else "It has no runs."
            raise CommandProblem(
                f"there is no flow {named!r} in {self.place}. {listed}", ExitCode.NOT_FOUND
            )

    def run_ids(self) -> Iterator[str | None]:
        """Give the runs that are named, and for "-" those of stdin. Else the run without an id.

        Raises:
            UsageProblem: None is named, and each stored run has an id. Or a line of stdin is wrong.
            CheckpointError: The store cannot be read.
        """
        if not self.runs:
            if not self.has_run_without_id:
                raise UsageProblem("name the runs, or give - to read their ids from stdin.")
            yield None
        for word in self.runs:
            if word == "-":
                yield from ids_of(sys.stdin)
            else:
                yield word

    @property
    def has_run_without_id(self) -> bool:
        """Whether the store has a run without an id, damaged or not, such as that of a file."""
        try:
            self.store().run(None, flow=self.flow_name)
        except RunNotFoundError:
            return False
        return True

    def filter(self) -> RunFilter:
        """Give the filter of the options.

        Raises:
            UsageProblem: An option is wrong.
        """
        return filter_of(self.arguments)


def _traceback_of(error: BaseException | None) -> Sequence[str]:
    """The lines of the traceback of the user's code that a module broke in, if any of it ran."""
    if error is None or (error.__traceback__ is None and not isinstance(error, SyntaxError)):
        return ()
    return "".join(traceback.format_exception(error, limit=-_FRAMES)).rstrip("\n").split("\n")
