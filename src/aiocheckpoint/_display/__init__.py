"""How flows, plans and runs look: texts, HTML cards, diagrams, and displays of progress.

Everything here renders the records of `look/`, and executes and stores nothing. It imports `look/`
and what is below it. `words.py` and `signs.py` have what texts and cards share.
"""

__all__: list[str] = []
