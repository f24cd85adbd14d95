"""obstore, whose threads end at a fork: a forked child loads a copy of its library.

The copy has threads of its own. A store belongs to the library that has made it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from obstore import _obstore  # pyright: ignore[reportPrivateUsage] - the library to copy

from aiocheckpoint.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

__all__ = ["Library", "library", "made_again"]


class Library(Protocol):
    """The functions of obstore that are used here."""

    def put_async(
        self, store: object, path: str, file: bytes, *, mode: object, use_multipart: bool
    ) -> Awaitable[Mapping[str, str | None]]:
        """Store an object."""
        ...

    def get_async(self, store: object, path: str, *, options: object) -> Awaitable[Any]:
        """Read an object, or the first bytes of it."""
        ...

    def delete_async(self, store: object, paths: Sequence[str]) -> Awaitable[None]:
        """Delete objects."""
        ...

    def list_with_delimiter_async(
        self, store: object, prefix: str
    ) -> Awaitable[Mapping[str, Sequence[str]]]:
        """List the folders in a folder."""
        ...

    def list(self, store: object, prefix: str, *, offset: str | None, chunk_size: int) -> Any:  # noqa: ANN401
        """List objects by the begin of their names."""


class _State:
    """The library of this process, and whether a loop has used it."""

    library: Library | None = cast("Library", _obstore)
    is_used = False


def library() -> Library:
    """Give the library whose threads live in this process."""
    if _State.library is None:
        _State.library = _copy()
    _State.is_used = True
    return _State.library


def made_again(store: object) -> object:
    """Make a store anew for the library of this process, if it is of another one.

    Raises:
        StorageError: The store cannot be made by its arguments, as one in memory.
    """
    here = library()
    if here is cast("Library", _obstore):
        return store
    kind = type(store).__name__
    try:
        arguments, keywords = cast("Any", store).__getnewargs_ex__()
    except AttributeError:
        raise StorageError(
            kind,
            f"a {kind} cannot be used in a forked process. Start processes by 'spawn', or give the "
            "handler a URL.",
        ) from None
    made: object = getattr(cast("Any", here)._store, kind)(*arguments, **keywords)  # noqa: SLF001
    return made


def _copy() -> Library:
    """Load the library once more, from a copy of its file, as the system loads no file twice."""
    name = "obstore._obstore"
    with tempfile.TemporaryDirectory(prefix="aiocheckpoint-") as folder:
        path = os.path.join(folder, os.path.basename(_obstore.__file__))
        shutil.copyfile(_obstore.__file__, path)
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        spec = importlib.util.spec_from_loader(name, loader)
        module = importlib.util.module_from_spec(cast("Any", spec))
        loader.exec_module(module)
    return cast("Library", module)


def _forget() -> None:
    if _State.is_used:
        _State.library = None


with suppress(AttributeError):  # Windows has no fork.
    os.register_at_fork(after_in_child=_forget)
