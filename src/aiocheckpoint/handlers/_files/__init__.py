"""Durable files: replace, flush, lock, read.

Knows no snapshots. Imports only `errors`. Open `replace` first.
"""

__all__: list[str] = []
