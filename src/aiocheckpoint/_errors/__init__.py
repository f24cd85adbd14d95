"""The parts of `errors`: its root, six groups of errors, and the longer messages.

Imports nothing else of the library. Open `root` first.
"""

__all__: list[str] = []
