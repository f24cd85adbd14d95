"""Objects to pickle streams, and back. The only part that knows dill.

Imports `_snapshot.keys`, `_snapshot.target` and `errors`. Open `serializer` first.
"""

__all__: list[str] = []
