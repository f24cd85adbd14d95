"""Objects to pickle streams, and back. The only package that imports dill.

Imports `_snapshot.keys`, `_snapshot.target` and `errors`. Open `serializer` first.
"""

__all__: list[str] = []
