"""The registry of handlers: from a name, URL scheme, class or object to the handler of a flow.

The built-in handlers are known by name. Other names and schemes are looked up in the entry point
group `aiocheckpoint.handlers` of the installed distributions.
"""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast

from aiocheckpoint._concurrency.callables import UserFunction, is_async_callable
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
)
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._dicts import DictRunStore, UserHandler
from aiocheckpoint.handlers._files.databases import is_database
from aiocheckpoint.handlers._identifiers import checked_name, checked_path
from aiocheckpoint.handlers._known_handlers import find_class, is_one_handler
from aiocheckpoint.handlers._options import SnapshotOptions, refuse_unknown
from aiocheckpoint.handlers._port import SnapshotPort
from aiocheckpoint.handlers._urls import absolute_path, redact_url, url_scheme
from aiocheckpoint.handlers.local import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._snapshot.codec import Codec
    from aiocheckpoint.handlers._leases import LockKind
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = [
    "CONSTRUCTORS",
    "HandlerOptions",
    "handler_name_for",
    "make_handler",
    "moves_snapshots",
    "open_handler",
    "run_store_maker",
]

CONSTRUCTORS: dict[str, Callable[..., Any]] = {"local": LocalStateHandler}
"""The table `CheckpointFlow.state_handler_constructors`, to which programs add their own handlers.
It begins as gumly's does, so that programs can look up the handler that they replace."""


_DEFAULT = "local"
"""The name of a handler that counts as not given."""


class HandlerOptions(SnapshotOptions, total=False):
    """The options that `CheckpointFlow` and `open_handler` pass on to a built-in handler.

    Attributes:
        connections: For the handler "postgresql", how many attempts at steps have a
            `current_step().connection()` at once (default 10). For the object stores "s3", "gs"
            and "az", how many requests are in progress at once (default 64).
        fsync: Whether each snapshot waits for the disk (default True).
        keep: How many snapshots of a run are kept, the newest included (default 1), or "all".
        lease: Seconds without a heartbeat after which a suspended owner, or one on another
            machine, loses its runs (default 30). For databases and object stores, and for "local"
            with `lock="lease"`.
        lock: For the handler "local": "kernel" (default), or "lease" for file systems without
            locks. See `LocalStateHandler`.
        patience: Seconds for which a request waits while the server is out of reach (default 60).
            For the handler "postgresql" and object stores.
        schema: The schema of the tables (default "aiocheckpoint"). For the handler "postgresql".
    """

    connections: int
    fsync: bool
    keep: Keep
    lease: float
    lock: LockKind
    patience: float
    schema: str


@front_door
def open_handler(
    state_path: str | os.PathLike[str],
    handler: Any = "local",  # noqa: ANN401 - any class or object with read and write
    *,
    name: str | None = None,
    **options: Unpack[HandlerOptions],
) -> Any:  # noqa: ANN401 - the handler may be a user's own
    """Make the handler of a path or URL without a flow, for tools that know no steps.

    The arguments, and the rules of names and schemes, are the same as for `CheckpointFlow`, except
    that the path of an existing SQLite database needs no scheme. Nothing is created on disk.

    Args:
        state_path: A path such as "checkpoint.pkl" or "runs/", or a URL such as
            "sqlite:///runs.db", whose scheme names the handler.
        handler: A name, a class or an object, as for `CheckpointFlow`.
        name: Name of the flow, by default the file name of `state_path` without its ending.
        options: Options of the handler, such as `HandlerOptions`.

    Returns:
        The handler: for a name or scheme of this library a `StateHandler`.

    Raises:
        UnknownHandlerError: No handler has the name given, or the scheme of `state_path`.
        MissingExtraError: The handler needs a module that is not installed.
        InvalidTypeError: `handler`, `state_path`, `name` or an option is of the wrong type.
        InvalidValueError: An option is invalid or does not belong to the handler. Or a registered
            handler cannot be imported.
        StorageError: `state_path` is relative, and the working directory was deleted. Or its disk
            does not answer the read that tells a database from other files.
    """
    flow = checked_name(state_path, name)
    if handler == "local" and url_scheme(state_path) is None:
        handler = handler_name_for(absolute_path(checked_path(state_path)))
    return make_handler(state_path, handler, flow, options, CONSTRUCTORS)


def handler_name_for(path: str) -> str:
    """The name of the handler for a path that names none. A file says itself what it is.

    Where the program has replaced the handler "local", its own one takes any path.

    Args:
        path: An absolute path.
    """
    is_ours = CONSTRUCTORS.get("local") is LocalStateHandler
    return "sqlite" if is_ours and is_database(path) else "local"


def make_handler(
    state_path: Any,  # noqa: ANN401
    handler: Any,  # noqa: ANN401
    flow: str,
    options: Mapping[str, Any],
    constructors: Mapping[str, Callable[..., Any]],
) -> Any:  # noqa: ANN401
    """Make the handler that a flow was asked for.

    Args:
        state_path: The path or URL.
        handler: A name, a class or an object.
        flow: Name of the flow.
        options: Options of the handler.
        constructors: Handlers registered by the program, looked up before all others.

    Raises:
        UnknownHandlerError: No handler has this name, or the scheme of this path.
        MissingExtraError: The handler needs a module that is not installed.
        InvalidTypeError: `handler` is no name, class or object with `read` and `write`.
        InvalidValueError: An option does not belong to the handler, the handler signs for
            another flow, a registered handler cannot be imported, or the URL is of another handler
            than the one named.
    """
    registered = isinstance(handler, str)
    if registered:
        handler = find_class(_name_of(state_path, handler, constructors), constructors)
    if isinstance(handler, type) or registered:
        instance = _construct(handler, state_path, flow, options)
    else:
        instance = handler
        _check_object(handler, flow, options)
    missing = [name for name in ("read", "write") if not callable(getattr(instance, name, None))]
    if missing:
        raise InvalidTypeError(
            f"handler must be a name, a class taking the path, or an object, with read() and "
            f"write(state); {_describe(handler)} lacks {' and '.join(missing)}."
        )
    return instance


def _name_of(
    state_path: object, handler: str, constructors: Mapping[str, Callable[..., Any]]
) -> str:
    """The name of the handler: the scheme of a URL, or the name that was given beside a path."""
    scheme = url_scheme(state_path)
    if scheme is None:
        return handler
    written = str(state_path)[: len(scheme)]  # A program may have registered upper case.
    found = written if written in constructors else scheme
    if handler not in {_DEFAULT, found} and not is_one_handler(handler, found, constructors):
        raise InvalidValueError(
            f"handler={handler!r} is no handler for a URL of {found!r}. Leave handler= out: the "
            "scheme of a URL names its handler."
        )
    return found


def _construct(handler: Any, state_path: object, flow: str, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    accepted, takes_any = _options_of(handler)
    named: dict[str, Any] = {}
    if "flow" in accepted and _is_state_handler_class(handler):
        accepted.remove("flow")  # The name of the flow is no option.
        named["flow"] = flow
    if not takes_any:
        hint = handler._option_hint if _is_state_handler_class(handler) else None  # noqa: SLF001
        refuse_unknown(options, accepted, _describe(handler), hint)
    return handler(state_path, **named, **options)


def _is_state_handler_class(handler: object) -> bool:
    return isinstance(handler, type) and issubclass(handler, StateHandler)


def _options_of(handler: Any) -> tuple[list[str], bool]:  # noqa: ANN401
    """The keywords of a constructor behind the path, and whether it takes any other keyword.

    Where a class takes `**options`, the keywords of its base classes count as well.
    """
    names: dict[str, None] = {}
    bases: tuple[Any, ...] = handler.__mro__[1:-1] if isinstance(handler, type) else ()
    for constructor in (handler, *(base for base in bases if "__init__" in vars(base))):
        if constructor is SnapshotPort:
            return list(names | dict.fromkeys(("flow", *SnapshotOptions.__annotations__))), False
        try:
            _, *parameters = inspect.signature(constructor).parameters.values()
        except ValueError:  # No parameters, or a built-in class without a signature.
            return list(names), False
        kinds = {parameter.name: parameter.kind for parameter in parameters}
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names |= dict.fromkeys(name for name, kind in kinds.items() if kind in named)
        if inspect.Parameter.VAR_KEYWORD not in kinds.values():
            return list(names), False
    return list(names), True


def _check_object(handler: object, flow: str, options: Mapping[str, Any]) -> None:
    if options:
        option = next(iter(options))
        raise InvalidValueError(
            f"{option}= belongs to the handler; set it where you make {_describe(handler)}."
        )
    if isinstance(handler, StateHandler) and handler.key_ids and handler.flow != flow:
        raise InvalidValueError(
            f"the handler signs for the flow {handler.flow!r}, and this one is {flow!r}: give both "
            f"one name, by {type(handler).__name__}(..., flow={flow!r})."
        )
    if isinstance(handler, StateHandler):
        handler.also_of |= {flow}


def run_store_maker(
    handler: Any,  # noqa: ANN401
    state_path: Any,  # noqa: ANN401
    codec: Codec,
) -> Callable[[str | None, Backend], RunStore]:
    """Give the function that makes the run store of a run from its id."""
    if moves_snapshots(handler):
        return cast("StateHandler", handler).run_store
    location = f"{type(handler).__qualname__}({redact_url(os.fsdecode(state_path))!r})"
    user_handler = UserHandler(
        location, _user_function(handler.read), _user_function(handler.write), codec
    )
    return partial(DictRunStore, user_handler)


def moves_snapshots(handler: object) -> bool:
    """Whether a handler moves snapshots.

    A subclass that overrides `read` or `write`, as a subclass of gumly's handler would, stores
    dicts instead.
    """
    if not isinstance(handler, StateHandler):
        return False
    kind = type(handler)
    return kind.read is StateHandler.read and kind.write is StateHandler.write


def _user_function(method: Callable[..., Any]) -> UserFunction:
    return UserFunction(
        method, takes_data=False, on_loop=is_async_callable(method), belongs_to_handler=True
    )


def _describe(handler: object) -> str:
    if isinstance(handler, type) or inspect.isroutine(handler):
        return handler.__qualname__
    return f"a {type(handler).__qualname__}"
