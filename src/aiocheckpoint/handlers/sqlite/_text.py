"""Texts as the tables have them."""

from __future__ import annotations

__all__ = ["sql_text", "stored_text"]


def sql_text(text: str) -> str | bytes:
    """Give text as SQLite can hold it: as bytes where it is no valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def stored_text(stored: bytes) -> str:
    """Give the text that `sql_text` has stored. Other bytes become a text that nothing has."""
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")
