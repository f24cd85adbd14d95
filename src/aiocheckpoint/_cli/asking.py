"""Questions before something is changed for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from aiocheckpoint._cli.output import Output

__all__ = ["confirmed"]

_MANY = 100
"""More than so many ask for their number."""


def confirmed(output: Output, question: str, count: int, *, yes: bool) -> bool:
    """Ask whether to go on, unless `--yes` was given.

    Args:
        output: The output.
        question: The question, with the count and the place.
        count: How many runs are meant. More than 100 ask for this number.
        yes: Whether `--yes` was given.

    Returns:
        Whether to go on.

    Raises:
        UsageProblem: Nobody can be asked, as stdin is no terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageProblem(f"{question} Nobody can be asked here: add --yes to go on.")
    wanted = str(count) if count > _MANY else "yes"
    output.words(f"{question} Type {wanted} to go on:")
    answer = sys.stdin.readline().strip().lower().replace(",", "")
    agreed = answer == wanted or (wanted == "yes" and answer == "y")
    if not agreed:
        output.words("Nothing was changed.")
    return agreed
