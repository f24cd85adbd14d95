"""Digests of the code of steps, by which an edited step is known.

The digest of a step covers its function, loader and saver. It is made from the syntax trees of
their sources where there are any, else from their code objects. Comments, positions and blank
lines do not count. Neither do docstrings, decorators and the types of parameters and results, so
that another `retry=` or `replace=True` is no edit. Functions that a step calls do not count, nor do
values from outside: global variables, variables of an enclosing function, arguments of a
`functools.partial`. Of a decorated function the innermost one counts, of a callable object its
`__call__`, of a class or a built-in function only the name.

A digest names its kind ("s" or "c") and the minor version of Python. Only digests of one kind and
version are compared. An edit is not noticed, rather than suspected, where the kinds differ.
"""

from __future__ import annotations

import functools
import hashlib
import weakref
from types import CodeType
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.callables import unwrap_callable
from aiocheckpoint._model.code_texts import MINOR_VERSION, code_text, constant_text, source_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.callables import UserFunction

__all__ = ["StepCode"]

_FROM_SOURCE, _FROM_CODE = f"s{MINOR_VERSION}-", f"c{MINOR_VERSION}-"
_DIGITS = 12
"""The length of a digest. Headers are written after every step, and are to be small."""

_Texts = tuple[str | None, str]
"""Digests of a function: of its source, if there is any, and of its code object."""

_KNOWN: dict[int, tuple[weakref.ref[CodeType], _Texts]] = {}
"""Those of code objects, by identity: equal ones may differ in their sources."""


class StepCode:
    """The code of one step.

    Args:
        parts: Its functions, with the names of the parts.
    """

    __slots__ = ("_codes", "_digest", "_functions", "_parts")

    def __init__(self, parts: Sequence[tuple[str, UserFunction]]) -> None:
        self._parts = parts
        self._functions: list[Any] = []
        self._codes: list[object] = []
        self._digest = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled without code objects, which have no pickle."""
        return type(self), (self._parts,)

    @property
    def digest(self) -> str:
        """The digest, from the sources if all functions have some.

        It is made once, and again when a function is given another code object, as by
        IPython's autoreload.
        """
        if not self._functions:
            self._functions = [_innermost(part.function) for _, part in self._parts]
        codes: list[object] = [getattr(function, "__code__", None) for function in self._functions]
        if not self._digest or codes != self._codes:
            texts = self._texts()
            sources = [source for source, _ in texts if source is not None]
            is_source = len(sources) == len(texts)
            self._digest = self._joined(_FROM_SOURCE, sources) if is_source else self._of_codes()
            self._codes = codes
        return self._digest

    def is_edited(self, recorded: str) -> bool:
        """Whether the code is known to be another one than that with a recorded digest."""
        if recorded.startswith(_FROM_CODE):  # The source may have been edited while it ran.
            return recorded != self._of_codes()
        same_kind = recorded.startswith(_FROM_SOURCE) and self.digest.startswith(_FROM_SOURCE)
        return same_kind and recorded != self.digest

    def _of_codes(self) -> str:
        return self._joined(_FROM_CODE, [code for _, code in self._texts()])

    def _texts(self) -> list[_Texts]:
        return [_texts(_innermost(part.function)) for _, part in self._parts]

    def _joined(self, kind: str, texts: list[str]) -> str:
        named = [f"{name} {text}" for (name, _), text in zip(self._parts, texts, strict=True)]
        return kind + _hashed("\n".join(named))[:_DIGITS]


def _texts(function: Any) -> _Texts:  # noqa: ANN401 - any callable
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        return name, name
    known = _KNOWN.get(id(code))
    if known is None or known[0]() is not code:
        source = source_text(function, code)
        texts = None if source is None else _hashed(source), _hashed(code_text(code))
        known = weakref.ref(code, functools.partial(_forget, id(code))), texts
        _KNOWN[id(code)] = known
    source, text = known[1]
    defaults = function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items()))
    return source, f"{text} {constant_text(defaults)}"


def _forget(identity: int, reference: object) -> None:
    known = _KNOWN.get(identity)
    if known is not None and known[0] is reference:
        del _KNOWN[identity]


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _innermost(function: Any) -> Any:  # noqa: ANN401
    """The function under partials, methods, callable objects and decorators."""
    for _ in range(100):  # `__wrapped__` may lead in a circle.
        inner = unwrap_callable(function)
        inner = getattr(inner, "__wrapped__", getattr(inner, "__func__", inner))
        if inner is function:
            break
        function = inner
    return function
