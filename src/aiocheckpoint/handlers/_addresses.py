"""Addresses of stores: which store, and which run in it, a path, URL or location means."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import CheckpointError, InvalidValueError
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._identifiers import checked_path, checked_run_id
from aiocheckpoint.handlers._locations import parse_location
from aiocheckpoint.handlers._registry import CONSTRUCTORS, handler_name_for, make_handler
from aiocheckpoint.handlers._urls import absolute_path, redact_url, url_scheme
from aiocheckpoint.handlers.local._paths import path_of_flow

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StoreAddress", "find_store"]


class StoreAddress(NamedTuple):
    """A store, and perhaps a run in it.

    Attributes:
        path: The path or URL of the store.
        handler: The name of its handler.
        flow: Name of the flow, or None where none was given.
        run_id: The run, or None.
    """

    path: str
    handler: str
    flow: str | None
    run_id: str | None

    @property
    def is_file(self) -> bool:
        """Whether it is a path for the handler "local"."""
        return self.handler == "local" and url_scheme(self.path) is None

    def open(self, flow: str, options: Mapping[str, Any] | None = None) -> StateHandler:
        """Make the handler of the store.

        Args:
            flow: Name of the flow, empty for any.
            options: Options of the handler.

        Raises:
            InvalidValueError: It keeps no snapshots, or an option is invalid.
        """
        handler = make_handler(self.path, self.handler, flow, options or {}, CONSTRUCTORS)
        if not isinstance(handler, StateHandler):
            kind = type(handler).__qualname__
            raise InvalidValueError(
                f"{kind} keeps one dict, and no snapshots. Its read() gives that dict."
            )
        return handler

    def check_whole(self, name: str) -> None:
        """Check that the address is that of a store, and not of one run in it.

        Args:
            name: The function that takes one run.

        Raises:
            InvalidValueError: It is the location of a run.
        """
        if self.run_id is not None:
            raise InvalidValueError(
                f"this path is the location of one run, {self.run_id!r}, which {name}() takes. "
                f"Give the path of the store, {str(self)!r}, for all its runs."
            )

    def __str__(self) -> str:
        return redact_url(self.path)


def find_store(path: object, flow: str | None, run_id: str | None) -> StoreAddress:
    """Find the store that a path, URL or location means. A file says itself what it is.

    Args:
        path: A path, a URL, or what `locate` of a handler gives for a run.
        flow: Name of the flow, or None.
        run_id: The run, or None.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path, `run_id` no id, or the location is
            that of another run or flow.
        StorageError: `path` is relative, and the working directory was deleted.
    """
    text, run_id = checked_path(path), checked_run_id(run_id)
    if url_scheme(text) is not None:
        _refuse_location(text)
        return StoreAddress(text, "local", flow, run_id)
    full = absolute_path(text)
    if os.path.lexists(full):
        if handler_name_for(full) == "sqlite":
            return StoreAddress(full, "sqlite", flow, run_id)
        named = None if run_id is not None or os.path.isdir(full) else _named_run(full)
        where, run_id = (text, run_id) if named is None else named
        return StoreAddress(where, "local", flow, run_id)
    location = parse_location(text)
    if location is None:
        return StoreAddress(text, "local", flow, run_id)
    if flow not in (None, location.flow) or run_id not in (None, location.run_id):
        raise InvalidValueError(
            f"{text} is the location of one run, so that flow= and run_id= can name no other. "
            "Leave them out, or give the path of the store."
        )
    return find_store(location.place, location.flow, location.run_id)


def _refuse_location(url: str) -> None:
    """Raise InvalidValueError for the location of a run on a server, which is no URL."""
    location = parse_location(url)
    if location is not None:
        raise InvalidValueError(
            f"this is the location of one run, {location.run_id!r} of the flow {location.flow!r}, "
            "on a server, which names no user. Give the URL that the flow was given, and name both "
            "beside it."
        )


def _named_run(path: str) -> tuple[str, str] | None:
    """The place and the id of the run whose file has this path. None for a flow's own file."""
    with suppress(CheckpointError):
        file = open_regular(path)
        if file is not None:
            with closing(file):
                found = Codec().open(file, path)
            run_id = None if found is None else found.header.run_id
            place = None if run_id is None else path_of_flow(path, run_id)
            if run_id is not None and place is not None:
                return place, run_id
    return None
