"""The clipboard of the person's terminal, which the escape sequence OSC 52 reaches over ssh too."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["put_into_clipboard"]


def put_into_clipboard(text: str, *streams: TextIO) -> bool:
    """Ask the terminal to put a text into its clipboard. No terminal says whether it does.

    https://invisible-island.net/xterm/ctlseqs/ctlseqs.html, "Operating System Commands", 52.

    Args:
        text: The text.
        streams: The first that is a terminal is asked.

    Returns:
        Whether one is.
    """
    for stream in streams:
        if stream.isatty():
            stream.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
            stream.flush()
            return True
    return False
