"""Threads, event loops, cancellation, and calls of users' functions.

The package knows nothing of checkpoints and imports only `errors` and `_tracebacks`. Open
`backends` first. It does the library's own blocking work, and `executors` calls users' functions.
`threads` waits for both under cancellation.
"""

__all__: list[str] = []
