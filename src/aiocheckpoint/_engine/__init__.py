"""The engine carries a plan out: the loop over steps, attempts, outcomes, locks and events.

It also stores submitted runs, and terminates runs.

Imports `events`, `handlers`, `_snapshot`, `_model` and everything below them. Open `runner` first.
"""

__all__: list[str] = []
