"""Cards: flows, plans, runs, results, lists and differences as HTML, and the same as text.

`../html.py` has their builders, which escape every text. Open `run_card.py` first.
"""

__all__: list[str] = []
