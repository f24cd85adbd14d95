"""Random streams under `allow=`, a hundred thousand of them."""

from __future__ import annotations

import pytest
from fuzzed_streams import fuzz

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("seed", range(100, 110))
def test_many_random_streams(seed: int) -> None:
    """No stream changes what is listed, crashes the process, or raises an undocumented error."""
    assert sum(fuzz(seed, 10_000)) == 10_000
