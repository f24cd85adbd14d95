"""What a flow is, what is known of a run, and what a run will do.

Does no I/O and awaits nothing. Imports `_concurrency` and `errors`. Open `plan` first.
"""

__all__: list[str] = []
