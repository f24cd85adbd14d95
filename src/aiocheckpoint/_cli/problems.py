"""The errors of the command line itself. `main` prints them and gives their exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandProblem", "NeedsModuleTarget", "UsageProblem"]


class CommandProblem(Exception):  # noqa: N818 - the CLI's own, never seen by programs
    """A reason to end the command.

    Args:
        message: What is wrong, and the remedy.
        code: The exit code.
        before: Lines that are shown before the message, such as a traceback.
        behind: Lines that are shown behind it.
    """

    def __init__(
        self,
        message: str,
        code: ExitCode = ExitCode.FAILED,
        *,
        before: Sequence[str] = (),
        behind: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.before = before
        self.behind = behind


class UsageProblem(CommandProblem):
    """The words of the command line are wrong."""

    def __init__(
        self, message: str, *, before: Sequence[str] = (), behind: Sequence[str] = ()
    ) -> None:
        super().__init__(message, ExitCode.USAGE, before=before, behind=behind)


class NeedsModuleTarget(UsageProblem):
    """A command needs the code of a flow, and was given a bare store."""

    def __init__(self, command: str, place: str, hint: str = "") -> None:
        super().__init__(
            f"{command} loads a state or runs a step, which needs the code of the flow, and "
            f"{place} is a bare store."
            f"{hint or ' Give the target as package.module:attribute.'}"
        )
