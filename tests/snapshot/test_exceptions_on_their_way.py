"""Exceptions of users' classes that refuse what is done to them on their way."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from aiocheckpoint._snapshot.pickling.sent_errors import packed_error, unpacked_error


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that refuses all attributes."""

    code: int


class ExitOnDumpError(Exception):
    """An exception that ends the interpreter when it is pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        """End it."""
        raise SystemExit(3)


def _end() -> None:
    raise SystemExit(4)


class ExitOnLoadError(Exception):
    """An exception that ends the interpreter when it is loaded, as a script without a guard."""

    def __reduce__(self) -> tuple[object, ...]:
        """Load by the end of it."""
        return _end, ()


@pytest.mark.parametrize("kind", [lambda: FrozenError(7), ExitOnDumpError, ExitOnLoadError])
def test_stubborn_exception_comes_as_text(kind: type[Exception]) -> None:
    """Nothing is raised on the way, and the exception keeps its cause and traceback."""
    cause = KeyError("cause")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each class in turn
        raise kind() from cause
    sent = packed_error(caught.value)
    assert type(caught.value).__name__ in sent.text
    assert unpacked_error(sent) is None
    assert caught.value.__cause__ is cause
    assert caught.value.__traceback__ is not None
