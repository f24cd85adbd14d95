"""The trace of one execution of a run, until it is stored."""

from typing import cast

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["OwnTrace"]

_LONGEST = 256
"""Characters. A W3C traceparent has 55, an X-Ray trace header about 100."""


class OwnTrace:
    """The trace that this execution is given at its start."""

    __slots__ = ("_is_frozen", "_text")

    def __init__(self) -> None:
        self._text: str | None = None
        self._is_frozen = False

    def freeze(self) -> str | None:
        """Give the trace, or None, and let no other be set."""
        self._is_frozen = True
        return self._text

    def set(self, trace: str) -> None:
        """Set the trace.

        Raises:
            InvalidTypeError: It is no text.
            InvalidValueError: It is empty, too long, or holds characters that cannot be printed. Or
                the start of the run is over.
        """
        if not isinstance(cast("object", trace), str):
            kind = type(trace).__name__
            raise InvalidTypeError(f"a trace is a text such as a W3C traceparent, not a {kind}.")
        if not (0 < len(trace) <= _LONGEST and trace.isprintable()):
            raise InvalidValueError(
                f"a trace has 1 to {_LONGEST} printable characters, as a W3C traceparent has, "
                f"and this one has {len(trace)}. Store longer texts elsewhere, under a short one."
            )
        if self._is_frozen:
            raise InvalidValueError(
                "set_trace() is called before the first snapshot of this execution: at the entry "
                "of the context manager for 'run', or in a hook of RunStarted."
            )
        self._text = trace
