"""State and header to bytes, and back.

Knows streams, and no files. Imports `_model` and everything below it. Open `codec` first.
"""

__all__: list[str] = []
