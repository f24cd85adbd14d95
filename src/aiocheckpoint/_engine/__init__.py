"""The engine carries a plan out: the loop over steps, attempts, outcomes, locks and events.

Imports `events`, `handlers`, `_snapshot`, `_model` and everything below them. Open `runner` first.
"""

__all__: list[str] = []
