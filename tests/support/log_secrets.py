"""States that hold a secret value, and everything that logs and errors say of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import notes_of

from aiocheckpoint import CheckpointError

if TYPE_CHECKING:
    import pytest
    from support import State

LOGGER = "aiocheckpoint"
CANARY = "canary-4f1d"


class Mute:
    """A value that shows itself, and cannot be stored."""

    def __repr__(self) -> str:
        """Show the secret."""
        return CANARY

    def __reduce__(self) -> str:
        """Refuse."""
        raise TypeError(f"no {CANARY}")


def with_secrets(**more: object) -> State:
    """Make a state full of secrets, under keys and in objects."""
    return {"plain": CANARY, "deep": [{"x": (CANARY, CANARY.encode())}], **more}


def all_text(error: BaseException | None, caplog: pytest.LogCaptureFixture) -> str:
    """Give all that logs and an error of ours say, without what the user's code raised."""
    said = caplog.text
    while error is not None:
        if isinstance(error, CheckpointError):
            said += f"{error} {error!r} {vars(error)} {error.args} {notes_of(error)}"
        else:
            said += notes_of(error)
        error = error.__cause__ or error.__context__
    return said
