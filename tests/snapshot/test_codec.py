"""The codec alone, in memory: what it writes, copies, reads and refuses."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import OTHER, SECRET, Pieces

from aiocheckpoint import (
    CorruptSnapshotError,
    Header,
    LocalStateHandler,
    UnserializableStateError,
    UntrustedSnapshotError,
)
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._snapshot.payload import PIECE_BYTES
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot

HEADER = Header(flow="f", run_id="x", position=2, status="stopped", number=1, steps=("a", "b", "c"))
STATE = {"n": 1, "rows": [1, 2]}
READ = {**STATE, "checkpoint_index": 2}
PLACE = "the place"


def written(codec: Codec, state: dict[str, Any] | None = None) -> bytes:
    """Write a snapshot into memory."""
    target = MemoryTarget()
    codec.write(HEADER, STATE if state is None else state, "b", target)
    return target.getvalue()


def opened(codec: Codec, data: bytes) -> StoredSnapshot:
    """Open bytes that are a snapshot."""
    stored = codec.open(io.BytesIO(data), PLACE)
    assert stored is not None
    return stored


def codec_with(**options: Any) -> Codec:  # noqa: ANN401 - as a handler takes them
    """Make a codec as a handler of these options has it."""
    return LocalStateHandler("f.pkl", **options).codec


def signing(secret: bytes = SECRET) -> Codec:
    """Make a codec that signs."""
    return codec_with(secret=secret)


def test_written_and_read() -> None:
    """State and header come back. The header has the versions of this program as well."""
    codec, target = Codec(), MemoryTarget()
    header = codec.write(HEADER, STATE, "b", target)
    stored = opened(codec, target.getvalue())
    assert stored.state() == READ
    assert (
        stored.header
        == header
        == replace(
            HEADER, **{name: getattr(header, name) for name in ("python", "dill", "library")}
        )
    )
    assert (header.python != "", header.code, stored.header.signed_by) == (True, False, None)
    assert stored.payload_length == len(Pieces.of(target.getvalue()).payload)
    assert codec.write(HEADER, {"f": lambda: 1}, "b", MemoryTarget()).code is True


@pytest.mark.parametrize("codec", [Codec(), signing()], ids=["plain", "signed"])
def test_small_and_large_are_written_alike(codec: Codec) -> None:
    """The snapshot of a small state is the same in memory as in a file."""
    header, payload, footer = codec.encode_small(HEADER, STATE)
    assert payload + footer == written(codec)
    assert header == codec.write(HEADER, STATE, "b", MemoryTarget())


@pytest.mark.parametrize("size", [0, PIECE_BYTES, 2 * PIECE_BYTES + 5])
def test_copied_under_another_header(size: int) -> None:
    """The payload stays as it is, however long, under another header, which is signed."""
    data, codec = written(Codec(), {"v": b"x" * size}), signing()
    stored, target = opened(Codec(), data), MemoryTarget()
    stored.file.seek(7)
    failed = replace(stored.header, status="failed", sequence=9)
    assert codec.copy(failed, stored, target) == failed
    copied = opened(codec, target.getvalue())
    assert Pieces.of(target.getvalue()).payload == Pieces.of(data).payload
    assert copied.state() == {"v": b"x" * size, "checkpoint_index": 2}
    assert codec.signer is not None
    assert copied.header == replace(failed, signed_by=codec.signer.ids[0])


def test_footer_apart_from_its_payload() -> None:
    """A footer alone gives the header, if it fits the length of its payload."""
    codec = signing()
    _, payload, footer = codec.encode_small(HEADER, STATE)
    assert codec.peek(footer, len(payload), PLACE) == opened(codec, payload + footer).header
    with pytest.raises(CorruptSnapshotError, match=PLACE):
        codec.peek(footer, len(payload) + 1, PLACE)
    with pytest.raises(CorruptSnapshotError, match="no magic"):
        codec.peek(footer[:-1], len(payload), PLACE)
    with pytest.raises(UntrustedSnapshotError):
        signing(OTHER).peek(footer, len(payload), PLACE)


@pytest.mark.parametrize(
    ("codec", "guarded"),
    [(Codec(), False), (signing(), True), (codec_with(allow=()), True)],
    ids=["plain", "signed", "listed"],
)
def test_guarded(codec: Codec, guarded: bool) -> None:  # noqa: FBT001
    """With a secret or a list the checked bytes are the loaded ones."""
    stored = opened(codec, written(codec))
    assert (stored.guarded, stored.state()) == (guarded, READ)


def test_nothing_stored() -> None:
    """An empty file is no snapshot, with a secret as well."""
    assert Codec().open(io.BytesIO(), PLACE) is None
    assert signing().open(io.BytesIO(), PLACE) is None


@pytest.mark.parametrize(
    ("position", "status", "expected"),
    [(None, "finished", 0), (0, "finished", 0), (2, "stopped", 2)],
)
def test_bare_pickle(position: int | None, status: str, expected: int) -> None:
    """A bare pickle of a dict has a header made from its position, and no secret trusts it."""
    state = STATE if position is None else {**STATE, "checkpoint_index": position}
    data = pickle.dumps(state)
    stored = opened(Codec(adopts=True), data)
    assert stored.header == Header(flow="", position=expected, status=stored.header.status)
    assert (stored.header.status, stored.payload_length) == (status, len(data))
    assert stored.state() == state
    with pytest.raises(UntrustedSnapshotError, match="no footer"):
        signing().open(io.BytesIO(data), PLACE)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickle_of_many_keys(protocol: int, count: int) -> None:
    """A dict of exactly 1,000 items, behind which picklers set no items, is a whole stream."""
    state = {f"{number}": number for number in range(count)}
    for data in (pickle.dumps(state, protocol), dill.dumps(state, protocol)):
        assert opened(Codec(adopts=True), data).state() == state


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2000])
def test_sizes_of_many_keys(count: int) -> None:
    """The sizes of all values are found, however many keys a state has."""
    data = written(Codec(), {f"{number}": number for number in range(count)})
    assert sum(opened(Codec(), data).sizes().values()) > 2 * count


class Counting(io.BytesIO):
    """A file that counts the most bytes that one call read."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and count."""
        content = super().read(size)
        self.most = max(self.most, len(content))
        return content


def test_large_bare_pickle_is_read_in_pieces() -> None:
    """The file of a large bare pickle is never read into memory as a whole."""
    file = Counting(pickle.dumps({f"{number}": bytes(1_000) for number in range(5_000)}))
    assert Codec(adopts=True).open(file, PLACE) is not None
    assert file.most <= PIECE_BYTES


BARE = {
    "other bytes": (pickle.dumps(STATE) + b"x", "other bytes follow its pickle, from byte"),
    "a list": (pickle.dumps([STATE]), "something else than a state's dict"),
    "cut off": (Pieces.of(written(Codec())).payload, "it is cut off"),
    "a text": (pickle.dumps({"checkpoint_index": "2"}), "no index of a step"),
    "a negative one": (pickle.dumps({"checkpoint_index": -1}), "no index of a step"),
    "a bool": (pickle.dumps({"checkpoint_index": True}), "no index of a step"),
}


@pytest.mark.parametrize("name", BARE)
def test_what_is_no_bare_pickle(name: str) -> None:
    """Any other file without a footer is refused, and says why."""
    data, words = BARE[name]
    with pytest.raises(CorruptSnapshotError, match=words):
        Codec().open(io.BytesIO(data), PLACE)


def test_header_that_cannot_be_read() -> None:
    """A sealed header that is no header is damaged."""
    pieces = replace(Pieces.of(written(Codec())), header=b"[]")
    with pytest.raises(CorruptSnapshotError, match="its header cannot be read"):
        Codec().open(io.BytesIO(pieces.joined()), PLACE)


class Mute(MemoryTarget):
    """Gives nothing back of what it took."""

    def read_back(self) -> io.BytesIO:
        """Give an empty file."""
        return io.BytesIO()


class Unmade:
    """Cannot be loaded again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_verified() -> None:
    """With `verify`, a snapshot is loaded back, and the error names what would not load."""
    codec = Codec(verify=True)
    assert opened(codec, written(codec)).state() == READ
    with pytest.raises(UnserializableStateError, match="would not load again") as info:
        written(codec, {"n": 1, "bad": Unmade()})
    assert (info.value.step, [path for path, _ in info.value.offenders]) == ("b", ['state["bad"]'])
    with pytest.raises(CorruptSnapshotError, match="reads as empty"):
        codec.write(HEADER, STATE, "b", Mute())
    assert Codec().write(HEADER, STATE, "b", Mute()).position == 2
    with pytest.raises(UnserializableStateError, match="would not load again"):
        written(Codec(), {"bad": Unmade()})


def test_what_cannot_be_written() -> None:
    """The error names the step and the path of the value."""
    with pytest.raises(UnserializableStateError) as info:
        written(Codec(), {"n": 1, "bad": [io.StringIO, (one for one in "x")]})
    assert info.value.step == "b"
    assert [path for path, _ in info.value.offenders] == ['state["bad"][1]']


def test_shown_without_keys() -> None:
    """A codec shows its options, and no key."""
    assert repr(Codec()) == "<Codec signer=None, any global, verify=False>"
    codec = codec_with(secret=SECRET, allow=["os:getcwd"], verify=True)
    shown = repr(codec)
    assert shown.endswith(f", {len(codec.allow or ())} globals, verify=True>")
    assert SECRET.decode() not in shown
