"""Displays of runs while they run: a card in a notebook, a bar on a terminal, lines in a pipe.

`choosing.py` says which one a call has. Open `displays.py` first.
"""

__all__: list[str] = []
