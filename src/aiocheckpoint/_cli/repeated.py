"""Words of the command line, as messages repeat them: without the passwords of URLs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._urls import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["LEFT_OUT", "given_words", "without_passwords"]

LEFT_OUT = (
    "The password is left out there. Give it by PGPASSWORD, or by a password file or service file."
)


def given_words(words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """List what a person has given: words, values of `--option=value`, and variables.

    Args:
        words: The words of the command line.
        environ: The environment, whose settings for this program count.
    """
    values = (word.partition("=")[2] for word in words if word.startswith("--"))
    settings = (value for name, value in environ.items() if name.startswith("AIOCHECKPOINT_"))
    return [*words, *values, *settings]


def without_passwords(text: str, given: Iterable[str]) -> str:
    """Give a message in which each word that has a password is repeated without it.

    Args:
        text: The message.
        given: What may be repeated in it: as it is, in quotes, or as a path.
    """
    for word in given:
        shown = redact_url(word)
        if shown != word:
            for form in (word, repr(word)[1:-1], os.path.normpath(word)):
                text = text.replace(form, shown)
    return text
