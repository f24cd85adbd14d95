"""What was probably meant by a target that is no store."""

from __future__ import annotations

import os
import re

from aiocheckpoint._cli.command_parser import nearest
from aiocheckpoint.handlers._urls import url_scheme

__all__ = ["module_hint", "source_of", "store_hint"]

_NAME = r"[^\W\d]\w*"
_DOTTED = re.compile(rf"({_NAME}(?:\.{_NAME})*)\.({_NAME})")
_FILE = re.compile(rf"(.+)\.py(?::({_NAME})?)?")
_ANY = "package.module:attribute"


def source_of(text: str) -> str | None:
    """Give the file of Python source that a path, or a bare word for its module, leads to.

    A word with a slash, such as `./train`, is a path alone: a flow may store runs beside a module.
    """
    if text.endswith(".py") and os.path.isfile(text):
        return text
    beside = f"{text}.py"
    is_word = text == os.path.basename(text) and not os.path.lexists(text)
    return beside if is_word and os.path.isfile(beside) else None


def module_hint(text: str) -> str:
    """Say how the flow of a module is named, where a path looks like one. "" where it does not."""
    if url_scheme(text) is not None or (os.path.lexists(text) and not source_of(text)):
        return ""
    source = _FILE.fullmatch(source_of(text) or text)
    if source is not None:
        return _named(source[1], source[2] or "attribute")
    dotted = _DOTTED.fullmatch(text)
    if dotted is not None and os.path.exists(f"{dotted[1].replace('.', os.sep)}.py"):
        return _named(dotted[1], dotted[2])
    return f" A flow in a module is named {_ANY}." if ":" in text else ""


def _named(module: str, attribute: str) -> str:
    folder, name = os.path.split(os.path.normpath(module))
    if os.path.isabs(folder) or folder.startswith(os.pardir):
        return f" A flow in a module is named {name}:{attribute}, with --app-dir {folder}."
    dotted = ".".join([*filter(None, folder.split(os.sep)), name])
    return f" A flow in a module is named {dotted}:{attribute}."


def store_hint(text: str) -> str:
    """Suggest the store whose name is nearest to that of a path that leads to nothing."""
    folder, name = os.path.split(text.rstrip(os.sep))
    try:
        names = [one for one in os.listdir(folder or os.curdir) if not one.endswith(".py")]
    except OSError:
        return ""
    return nearest(os.path.join(folder, name), [os.path.join(folder, one) for one in names])
