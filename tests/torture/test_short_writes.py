"""Linux takes no more than 0x7ffff000 bytes at once, and says how many it took: see write(2)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from support import FlowFactory

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]

MOST = 0x7FFFF000
GIB = 1 << 30


def test_more_than_the_system_takes_at_once(flows: FlowFactory) -> None:
    """A state that no single write takes is stored whole."""
    if shutil.disk_usage(flows.path.parent).free < 4 * GIB:
        pytest.skip("needs 4 GiB of disk")
    end = b"the end"
    handler = LocalStateHandler(flows.path, fsync=False)
    handler.write({"big": bytes(MOST) + end})
    big = handler.read()["big"]
    flows.path.unlink()
    assert len(big) == MOST + len(end)
    assert big[-len(end) :] == end
