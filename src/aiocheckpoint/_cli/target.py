"""The target of a command: a flow in a module, or a bare store. Its form alone tells which."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.target_hints import module_hint, source_of
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._urls import (
    redact_url,
    refuse_mistaken,
    url_scheme,
    without_password,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Target", "target_and_runs"]

_NAME = r"[^\W\d]\w*"
_MODULE = re.compile(rf"{_NAME}(?:\.{_NAME})*:{_NAME}")
_PROJECT = "pyproject.toml"
_TABLE = "[tool.aiocheckpoint"


class Target(NamedTuple):
    """A target.

    Attributes:
        text: As it was given.
        is_module: Whether it is `package.module:attribute`, and no bare store.
    """

    text: str
    is_module: bool

    @classmethod
    def parse(cls, text: str) -> Target:
        """Tell a target's kind by its form. A file of that name is a bare store.

        Raises:
            UsageProblem: The text is empty, leads to Python source, or is a connection string.
        """
        if not text:
            raise UsageProblem("the target is empty. Give a path, a URL or package.module:flow.")
        source = source_of(text)
        if source is not None:
            raise UsageProblem(f"{source} is Python source, and no store.{module_hint(text)}")
        try:
            refuse_mistaken(text)
        except InvalidValueError as error:
            raise UsageProblem(str(error)) from None
        return cls(text, bool(_MODULE.fullmatch(text)) and not os.path.lexists(text))

    @property
    def word(self) -> str | None:
        """The target as a suggested command has it: without a password. None if that is unclear."""
        return self.text if self.is_module else without_password(self.text)

    def __str__(self) -> str:
        """The target in messages: without a password."""
        return self.text if self.is_module else redact_url(self.text)


def target_and_runs(
    words: Sequence[str], given: str | None, most_runs: int | None, environ: Mapping[str, str]
) -> tuple[Target, tuple[str, ...]]:
    """Tell the target from the runs behind it.

    Args:
        words: The words of the command that are no options.
        given: The target of `--target`, or None. All words are runs then.
        most_runs: How many runs the command takes, None for any number.
        environ: The environment, with AIOCHECKPOINT_TARGET.

    Raises:
        UsageProblem: There is no target, a word too many, or a word that may be either.
    """
    if given is not None:
        return Target.parse(given), _runs(words, most_runs)
    is_given = most_runs is not None and len(words) > most_runs
    default = None if is_given else default_target(environ)
    if default is None:
        if not words:
            raise UsageProblem(
                "no target is given. Name a store, such as orders.db, or a flow, such as "
                "service:cp, or set AIOCHECKPOINT_TARGET."
            )
        return Target.parse(words[0]), _runs(words[1:], most_runs)
    if words and words[0] == default:
        return Target.parse(default), _runs(words[1:], most_runs)
    if words and _looks_like_target(words[0]):
        raise UsageProblem(
            f"{words[0]!r} may be a target or a run, as the default target is "
            f"{redact_url(default)!r}. "
            "Give the target by --target."
        )
    return Target.parse(default), _runs(words, most_runs)


def _runs(words: Sequence[str], most: int | None) -> tuple[str, ...]:
    if most is not None and len(words) > most:
        taken = "no run" if most == 0 else "one run" if most == 1 else f"{most} runs"
        raise UsageProblem(f"{words[most]!r} is a word too many: the command takes {taken}.")
    return tuple(words)


def _looks_like_target(word: str) -> bool:
    return bool(_MODULE.fullmatch(word)) or url_scheme(word) is not None or os.path.lexists(word)


def default_target(environ: Mapping[str, str]) -> str | None:
    """Give the target that is left out: of the environment, or of pyproject.toml here.

    Raises:
        UsageProblem: pyproject.toml cannot be read, its target is no text, or its table has more.
    """
    return environ.get("AIOCHECKPOINT_TARGET") or _of_project()


def _of_project() -> str | None:
    try:
        with open(_PROJECT, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):  # As if there were none: nobody has named it.
        return None
    if _TABLE not in text:
        return None
    import tomllib  # noqa: PLC0415 - few projects set a target

    try:
        table = tomllib.loads(text).get("tool", {}).get("aiocheckpoint", {})
        found, others = table.get("target"), sorted(table.keys() - {"target"})
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise UsageProblem(f"{_PROJECT} has no readable [tool.aiocheckpoint]: {error}") from None
    if others:
        raise UsageProblem(
            f"[tool.aiocheckpoint] of {_PROJECT} has the key {others[0]!r}, and only target is "
            "known there."
        )
    if found is not None and not isinstance(found, str):
        raise UsageProblem(f"target in [tool.aiocheckpoint] of {_PROJECT} is no text.")
    return found
