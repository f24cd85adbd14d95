"""Many runs of one flow: list, read, patch, resume, map, stream, drain.

Imports `_engine` and everything below it. Open `service` first.
"""

__all__: list[str] = []
