"""The errors of the command line itself. `main` prints them and gives their exit code."""

from __future__ import annotations

from aiocheckpoint._cli.exit_codes import ExitCode

__all__ = ["CommandProblem", "NeedsModuleTarget", "UsageProblem"]


class CommandProblem(Exception):  # noqa: N818 - the CLI's own, never seen by programs
    """A reason to end the command.

    Args:
        message: What is wrong, and the remedy.
        code: The exit code.
        before: A text that is shown before the message, such as a traceback.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED, *, before: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.before = before


class UsageProblem(CommandProblem):
    """The words of the command line are wrong."""

    def __init__(self, message: str, *, before: str = "") -> None:
        super().__init__(message, ExitCode.USAGE, before=before)


class NeedsModuleTarget(UsageProblem):
    """A command needs the code of a flow, and was given a bare store."""

    def __init__(self, command: str, place: str, hint: str = "") -> None:
        super().__init__(
            f"{command} loads a state or runs a step, which needs the code of the flow, and "
            f"{place} is a bare store."
            f"{hint or ' Give the target as package.module:attribute.'}"
        )
