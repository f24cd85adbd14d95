"""Tracebacks as users see them: the line that broke, and one line of the library before it.

An exception leaves the library at a public function, its front door. There the traceback loses the
frames between that function and the user's own code. A fault of the library keeps all its frames,
because they belong into a report of it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from types import CodeType, FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "add_front_doors",
    "calls_user_code",
    "drop_frames_of_engine",
    "front_door",
    "shortened_traceback",
    "user_frames",
]

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")

_PACKAGE = f"{__name__.partition('.')[0]}."
_MACHINERY = (_PACKAGE, "contextlib.", "copyreg.", "dill.", "pickle.")
"""Modules whose frames say nothing in the traceback of a cause."""
_INTERRUPTIONS = (asyncio.CancelledError, KeyboardInterrupt)
_OWN = (CheckpointError, *_INTERRUPTIONS)
"""Exceptions that are no fault of the library when it raises them."""
_CALLERS: set[CodeType] = set()


def calls_user_code(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """Mark a function that does nothing but call a user's code.

    An exception that comes out of it is the user's, and the frames below it are.
    """
    _CALLERS.add(cast("FunctionType", function).__code__)
    return function


def front_door(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """Shorten the tracebacks of exceptions that come out of a public function."""
    if inspect.iscoroutinefunction(function):
        return cast("Callable[_Params, _Result]", _async_front_door(function))

    @functools.wraps(function)
    def call(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _shorten(error, _behind_this_frame(error))
            raise

    return call


def _async_front_door(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            work = function(*args, **kwargs)
            # Thousands of calls may wait here, and the garbage collector visits their arguments.
            del args, kwargs
            return await work
        except BaseException as error:
            _shorten(error, _behind_this_frame(error))
            raise

    return call


def add_front_doors(*kinds: type) -> None:
    """Make front doors of the public methods and constructors that these classes define."""
    for kind in kinds:
        for name, member in list(vars(kind).items()):
            if isinstance(member, FunctionType) and (name == "__init__" or name[0] != "_"):
                setattr(kind, name, front_door(member))


class _ShortenedTraceback:
    """Shortens the tracebacks of exceptions that leave a `with` block.

    For generators, whose frames are the front door of a stream.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            _shorten(error, error.__traceback__)


shortened_traceback = _ShortenedTraceback()


def user_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the user's code on, or the whole one where it called no user's code."""
    caller = _find_caller(error.__traceback__)
    return error.__traceback__ if caller is None else caller.tb_next


def drop_frames_of_engine(error: BaseException) -> None:
    """Let the traceback of a user's exception begin at the call of the user's code."""
    caller = _find_caller(error.__traceback__)
    if caller is not None:
        _set_traceback(error, caller)


def _set_traceback(error: BaseException, tb: TracebackType | None) -> None:
    # The class of a user's exception may refuse to set attributes, or have a method of its own.
    BaseException.with_traceback(error, tb)


def _behind_this_frame(error: BaseException) -> TracebackType | None:
    tb = error.__traceback__
    # A call with wrong arguments has no frame of the public function.
    return None if tb is None else tb.tb_next


def _shorten(error: BaseException, front: TracebackType | None) -> None:
    """Keep `front`, the frame of a public function, and the frames of the user's code."""
    _set_traceback(error, front)
    if isinstance(error, CheckpointError):
        _skip_internal_causes(error)
    for other in _chain(error):
        _shorten_cause(other, of=error)
    if front is None:
        return
    caller = _find_caller(front)
    if caller is not None and not (isinstance(error, _OWN) and _is_own(caller.tb_next)):
        front.tb_next = caller.tb_next
    elif isinstance(error, _INTERRUPTIONS) or (
        isinstance(error, CheckpointError) and _is_own(_last(front))
    ):
        front.tb_next = None
    else:
        return  # A fault of the library, or of a handler that somebody else wrote.
    # pytest and IPython look for this name in the local variables of a frame.
    front.tb_frame.f_locals["__tracebackhide__"] = True


def _skip_internal_causes(error: CheckpointError) -> None:
    """Let the cause be the first exception that is not one of the library's private ones."""
    shown = cause = _shown_cause(error)
    while cause is not None and type(cause).__module__.startswith(_PACKAGE):
        cause = _shown_cause(cause)
    if cause is not shown:
        error.__cause__ = cause


def _shown_cause(error: BaseException) -> BaseException | None:
    """The exception that is printed before this one."""
    return error.__cause__ if error.__suppress_context__ else error.__context__


def _shorten_cause(error: BaseException, *, of: BaseException) -> None:
    caller = _find_caller(error.__traceback__)
    if caller is not None:
        _set_traceback(error, caller.tb_next)
    elif isinstance(of, _OWN):
        entries = list(_entries(error.__traceback__))
        told = [entry for entry in entries if not _is_of(entry, _MACHINERY)] or entries[-1:]
        tb = None
        for entry in reversed(told):
            tb = TracebackType(tb, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        _set_traceback(error, tb)


def _find_caller(tb: TracebackType | None) -> TracebackType | None:
    """Find the entry of the function that called the user's code, the last before that code."""
    found = None
    for entry in _entries(tb):
        if _calls(entry):
            found = entry
        elif found is not None and not _is_of(entry, _PACKAGE):
            break
    return found


def _calls(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code in _CALLERS


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The causes and contexts of an exception, without itself."""
    seen, todo = {id(error)}, [error]
    while todo:
        one = todo.pop()
        for other in (one.__cause__, one.__context__):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
                yield other


def _entries(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _last(tb: TracebackType) -> TracebackType:
    *_, last = _entries(tb)
    return last


def _is_own(tb: TracebackType | None) -> bool:
    return all(_is_of(entry, _PACKAGE) for entry in _entries(tb))


def _is_of(entry: TracebackType, modules: str | tuple[str, ...]) -> bool:
    return f"{entry.tb_frame.f_globals.get('__name__', '')}.".startswith(modules)
