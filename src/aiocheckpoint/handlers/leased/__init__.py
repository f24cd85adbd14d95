"""The base of stores that many processes share by leases: writer, requests, leases, run store.

Imports `handlers._base` and everything below it.
"""

__all__: list[str] = []
