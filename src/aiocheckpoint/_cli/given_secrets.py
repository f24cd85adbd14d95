"""The secrets that check signatures, found by a name or in a file, never given as a value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["secrets_of"]


def secrets_of(arguments: Namespace) -> list[bytes] | None:
    """Find the secrets that the options name. None where they name none.

    Raises:
        UsageProblem: A variable is not set, or a file cannot be read.
    """
    found = [_of_environment(name) for name in getattr(arguments, "secret_env", ())]
    found += [_of_file(path) for path in getattr(arguments, "secret_file", ())]
    return found or None


def _of_environment(name: str) -> bytes:
    value = os.environ.get(name)
    if not value:
        raise UsageProblem(
            f"the environment variable {name} is not set. --secret-env takes the name of the "
            "variable that holds the secret, never the secret."
        )
    return os.fsencode(value)


def _of_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            value = file.read()
    except OSError as error:
        raise UsageProblem(f"the secret cannot be read from {path}: {error.strerror}.") from None
    # Editors end the last line, and a secret of text has no such end.
    return value.removesuffix(b"\n").removesuffix(b"\r")
