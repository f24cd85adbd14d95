"""Many runs of one flow: list, read, patch, resume, map, stream, drain.

Imports `_engine` and everything below it. Open `core` first, the object that all functions here
take. `stored_api` and `service` hold the public methods that `CheckpointFlow` inherits.
"""

__all__: list[str] = []
