"""How flows, plans and runs look: texts, HTML cards, diagrams, and displays of progress.

Everything here renders the records of `look/`. It executes no step, and writes no file but that of
`Diagram.save`. It imports `look/` and what is below it. `cards/` has the cards and their texts,
`live/` the displays of runs in progress, and `diagrams/` the pictures of steps. Texts and cards
share the words of `run_facts.py`, `step_words.py`, `figures.py` and `times.py`, and the signs of
`signs.py`.
"""

__all__: list[str] = []
