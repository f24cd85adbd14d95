"""Diagrams: the steps of a flow, or of a run, as text, as Mermaid and as SVG.

Open `diagram.py` first.
"""

__all__: list[str] = []
