"""The steps of a flow, the header of a run, and the plan of the next one.

Awaits nothing, and reads nothing but the sources of steps, in `code_texts`. Imports
`_concurrency.callables`, `_concurrency.timeouts`, `_tracebacks` and `errors`. Open `plan` first,
which decides where a run starts. `header` has the stored facts.
"""

__all__: list[str] = []
