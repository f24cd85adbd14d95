"""Many runs of one flow: list, read, patch, resume, map, stream, queue, work, terminate, drain.

Imports `_engine` and everything below it. Open `core` first, the object that all functions here
take. `registration`, `stored_api`, `service`, `twins`, `queue_api` and `lifespan_api` have the
public methods that `CheckpointFlow` inherits.
"""

__all__: list[str] = []
