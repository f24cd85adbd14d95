"""Carries a plan out: the loop over steps, attempts, outcomes, the lock, the events.

Imports `handlers`, `_snapshot`, `_model` and everything below them. Open `runner` first.
"""

__all__: list[str] = []
