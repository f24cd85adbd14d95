"""State and header to bytes, and back.

Knows streams of bytes and no files. Imports `_model` and everything below it. Open `codec` first,
which writes and reads whole snapshots. `footer` has the format byte by byte.
"""

__all__: list[str] = []
