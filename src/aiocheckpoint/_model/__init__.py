"""The steps of a flow, the header of a run, and the plan of the next one.

Does no I/O and awaits nothing. Imports `_concurrency.callables`, `_concurrency.timeouts` and
`errors`. Open `plan` first, which decides where a run starts. `header` has the stored facts.
"""

__all__: list[str] = []
