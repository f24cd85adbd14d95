"""States and values that are given on the command line: JSON, a file of it, or standard input.

No message shows a value. A value may be a secret of the user's, and messages are kept.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn, cast

from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from typing import TextIO

__all__ = ["given_object", "given_pairs", "given_values", "refuse_both"]

_KINDS: dict[type, str] = {
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}
_PAIR = 2


def given_object(flag: str, text: str | None, stdin: TextIO | None = None) -> dict[str, Any] | None:
    """Read the JSON object of a flag: the text itself, `@file`, or `-` for standard input.

    Args:
        flag: The flag, for messages.
        text: What was given, or None.
        stdin: Standard input, by default that of the process.

    Returns:
        The object as a dict. None where nothing was given.

    Raises:
        UsageProblem: It is no JSON object, or the file cannot be read.
    """
    if text is None:
        return None
    if text == "-":
        return _parsed_object(f"{flag} from standard input", _read(stdin or sys.stdin, flag))
    if text.startswith("@"):
        return _parsed_object(f"{flag} in {text[1:]!r}", _content(flag, text[1:]))
    return _parsed_object(flag, text)


def given_values(flag: str, words: Sequence[str]) -> dict[str, Any]:
    """Read words such as `by=Ann` and `total=7`: values are JSON, and else text.

    Raises:
        UsageProblem: A word has no "=", no key, or a key that was given before.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageProblem(f"{flag} takes KEY=VALUE, such as {flag} by=Ann.")
        if key in values:
            raise UsageProblem(f"{flag} {key}=... is given twice. Give each key once.")
        values[key] = _value(text)
    return values


def refuse_both(flag: str, keys: Iterable[str], other: str, others: Iterable[str]) -> None:
    """Refuse keys that two flags name.

    Raises:
        UsageProblem: There is one.
    """
    for key in sorted(set(keys) & set(others)):
        raise UsageProblem(f"{flag} and {other} both name {key!r}. Leave one of them out.")


def given_pairs(lines: Iterable[str]) -> Generator[tuple[str, dict[str, Any]], None, None]:
    """Read pairs of a run id and a state, one JSON array a line. Empty lines are passed over.

    Raises:
        UsageProblem: A line is no such pair. It is named by its number.
    """
    for number, line in enumerate(_decoded(lines), 1):
        if line.strip():
            yield _pair(f"line {number}", line)


def _decoded(lines: Iterable[str]) -> Generator[str, None, None]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise UsageProblem(f"standard input is not text in {error.encoding}.") from None


def _pair(where: str, line: str) -> tuple[str, dict[str, Any]]:
    found = _parsed(f"{where} of standard input", line)
    if isinstance(found, list):
        pair = cast("list[object]", found)
        if len(pair) == _PAIR and isinstance(pair[0], str) and isinstance(pair[1], dict):
            return pair[0], cast("dict[str, Any]", pair[1])
    raise UsageProblem(
        f"{where} of standard input is no pair of a run id and a state, such as "
        '["order-42", {"total": 7}].'
    )


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _parsed_object(where: str, text: str) -> dict[str, Any]:
    found = _parsed(where, text)
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    kind = _KINDS.get(type(found), "a number")
    raise UsageProblem(f'{where} is {kind}, not a JSON object such as {{"total": 7}}.')


def _parsed(where: str, text: str) -> object:
    try:
        return cast("object", json.loads(text, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        place = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UsageProblem(f"{where} is no JSON: {place}.") from None
    except RecursionError:
        raise UsageProblem(f"{where} is nested too deep.") from None
    except ValueError:  # An integer of thousands of digits.
        raise UsageProblem(
            f"{where} holds NaN, an infinity, or a number that is too long."
        ) from None


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON. As a value of `--set` they are text."""
    raise ValueError(name)


def _content(flag: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return _read(file, flag)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageProblem(
            f"{flag} names a file, {path!r}, that cannot be read: {reason}."
        ) from None
    except ValueError:  # A NUL in the path.
        raise UsageProblem(f"{flag} names a file by no path.") from None


def _read(stream: TextIO, flag: str) -> str:
    try:
        return stream.read()
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{flag} is read as text in {error.encoding}, and is none.") from None
