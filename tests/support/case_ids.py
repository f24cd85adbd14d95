"""Names of parametrised cases that are the same in every process."""

from __future__ import annotations

import re

__all__ = ["ADDRESS", "UNSTABLE", "plain_repr"]

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
UNSTABLE = re.compile(rf"{ADDRESS.pattern}|\{{'[^':]*', ")
"""What differs between processes: addresses, and the order of a set of texts."""


def plain_repr(value: object) -> str:
    """Give the `repr` of a value without addresses, as an id for `pytest.mark.parametrize`."""
    return ADDRESS.sub("", repr(value))
