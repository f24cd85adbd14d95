"""Durable files: replace, flush, lock, read.

Knows no snapshots. Imports only `errors` and `_logging`. Open `replace` first.
"""

__all__: list[str] = []
