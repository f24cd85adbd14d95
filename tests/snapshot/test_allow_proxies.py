"""Under `allow=` no stream reaches a shared object through a listed class that stands for it."""

from __future__ import annotations

import collections
import io
from typing import TYPE_CHECKING

import hostile_pickles as hostile
import hostile_proxies as proxies
import pytest

from aiocheckpoint import LocalStateHandler, UntrustedSnapshotError
from aiocheckpoint._snapshot.pickling.ownership import makes_new_instances
from aiocheckpoint._snapshot.pickling.vetting import vet

if TYPE_CHECKING:
    from support import FlowFactory

PIECE = 1 << 20


@pytest.mark.parametrize("name", proxies.THROUGH)
def test_nothing_is_changed_through_a_class(name: str, flows: FlowFactory) -> None:
    """A stream cannot change the object that a listed proxy stands for, nor an object's class."""
    before = proxies.shared_as_it_was()
    flows.path.write_bytes(proxies.stream(name))
    with pytest.raises(UntrustedSnapshotError, match="it changes"):
        LocalStateHandler(flows.path, allow=proxies.LISTED).read()
    assert proxies.shared_as_it_was() == before


@pytest.mark.parametrize(
    "kind", [hostile.Point, hostile.Frozen, hostile.Slotted, hostile.Pair, hostile.OwnList]
)
def test_usual_classes_need_no_watching(kind: type) -> None:
    """The C unpickler loads instances of usual classes."""
    assert makes_new_instances(kind, called=False, slots=False)
    assert makes_new_instances(collections.OrderedDict, called=True, slots=False)
    assert makes_new_instances(hostile.Slotted, called=False, slots=True)


@pytest.mark.parametrize("name", ["__class__", "__dict__"])
def test_names_between_two_pieces(name: str) -> None:
    """The names that slots must not set are found wherever the vetting cuts the stream."""
    for before in (1, len(name) - 1):
        end = hostile.text(name) + b"Ns\x86b."
        start = b"\x80\x05" + hostile.named("Order") + b")\x81N}"
        filled = PIECE - before - 2 - len(start) - 6  # The opcodes of the text and of the filling.
        data = start + b"B" + filled.to_bytes(4, "little") + b"x" * filled + b"0" + end
        assert data.index(name.encode()) + before == PIECE
        makers = vet(io.BytesIO(data), len(data), frozenset({"hostile_pickles:Order"}))
        assert None in {maker.name for maker in makers}
