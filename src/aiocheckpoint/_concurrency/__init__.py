"""Threads, event loops, cancellation, and calls of users' functions.

Knows nothing of checkpoints. Imports only `errors`. Open `backends` first.
"""

__all__: list[str] = []
