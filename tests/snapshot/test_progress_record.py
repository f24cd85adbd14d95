"""Records of progress as bytes: what comes back, and what is passed over."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint._model.cursor import encode_cursor
from aiocheckpoint._model.progress_record import ProgressRecord
from aiocheckpoint._snapshot.progress_record import (
    MOST_PROGRESS_BYTES,
    UnusableProgressError,
    decode_progress,
    encode_progress,
)
from aiocheckpoint._snapshot.signing import make_signer

OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32
SIGNER = make_signer([NEW, OLD], "jobs")
RECORD = ProgressRecord(
    *("jobs", "nightly", 3, 1_700_000_000.25, "pages"),
    *(encode_cursor({"page": 7, "caf\u00e9": ["\u20ac", None]}), 7, 12.5, "pages", 1_700_000_009.5),
)
NAMES = st.text(min_size=1, max_size=30)  # With surrogates, as flows and run ids may have them.


def forged(signer: Any = None, **facts: Any) -> bytes:  # noqa: ANN401
    """A record whose digest and signature are right, with other facts."""
    encoded = encode_progress(RECORD, signer)
    values = {**json.loads(encoded.partition(b"\n")[2]), **facts}
    return sealed(json.dumps(values).encode(), signer)


def sealed(body: bytes, signer: Any = None) -> bytes:  # noqa: ANN401
    """Any body with a line that fits."""
    key = signature = "-"
    if signer is not None:
        key, signature = (one.hex() for one in signer.sign(b"aiocheckpoint progress\0" + body))
    digest = hashlib.sha256(body).hexdigest()
    return f"aiocheckpoint progress 1 {digest} {key} {signature}\n".encode() + body


@given(NAMES, st.none() | NAMES, NAMES, st.none() | st.text(max_size=20), st.floats(0, 1e300))
def test_every_record_comes_back(
    flow: str, run_id: str | None, step: str, note: str | None, done: float
) -> None:
    """Whatever names and amounts a record has, it comes back the same, signed or not."""
    names = [json.loads(json.dumps(name)) for name in (flow, step)]  # JSON joins two surrogates.
    known = None if run_id is None else json.loads(json.dumps(run_id))
    told = None if note is None else json.loads(json.dumps(note))
    record = RECORD._replace(flow=names[0], run_id=known, step=names[1], note=told, done=done)
    for signer in (None, make_signer(NEW, names[0])):
        assert decode_progress(encode_progress(record, signer), signer) == record


def test_the_largest_record_is_read() -> None:
    """The longest names and the largest cursor make a record that its reader accepts."""
    long = "\ud800\u20ac" * 500
    cursor = encode_cursor({"a": "x" * ((1 << 14) - 8)})
    record = RECORD._replace(flow=long, run_id=long, step=long, note=long[:200], cursor=cursor)
    encoded = encode_progress(record, SIGNER)
    assert len(encoded) < MOST_PROGRESS_BYTES
    assert decode_progress(encoded, make_signer(NEW, "jobs")) == record


def test_all_secrets_verify_and_the_first_signs() -> None:
    """A record of before a change of secrets is good, and one of another secret is not."""
    assert decode_progress(encode_progress(RECORD, make_signer(OLD, "jobs")), SIGNER) == RECORD
    assert decode_progress(encode_progress(RECORD, SIGNER), make_signer(NEW, "jobs")) == RECORD
    for signer in (None, make_signer(OTHER, "jobs"), make_signer(NEW, "other")):
        with pytest.raises(UnusableProgressError, match="not signed with a secret"):
            decode_progress(encode_progress(RECORD, signer), SIGNER)


def test_a_reader_without_a_secret_reads_signed_records() -> None:
    """As of snapshots, the signature is nothing that such a reader can check."""
    assert decode_progress(encode_progress(RECORD, SIGNER), None) == RECORD


def test_no_record_stands_for_another() -> None:
    """The body that is signed names run, number, beginning and step."""
    encoded = encode_progress(RECORD, SIGNER)
    line, _, body = encoded.partition(b"\n")
    changes = (b"nightly", b"monthly"), (b'"number":3', b'"number":4'), (b"pages", b"steps")
    for old, new in changes:
        other = body.replace(old, new)
        assert other != body
        words = line.split()
        words[3] = hashlib.sha256(other).hexdigest().encode()
        with pytest.raises(UnusableProgressError, match="not signed"):
            decode_progress(b" ".join(words) + b"\n" + other, SIGNER)


@pytest.mark.parametrize("signer", [None, SIGNER], ids=["unsigned", "signed"])
def test_each_changed_byte_is_noticed(signer: Any) -> None:  # noqa: ANN401
    """Wherever a byte is changed or missing, the record is damaged or not trusted."""
    encoded = encode_progress(RECORD, signer)
    for index in range(len(encoded)):
        changed = bytearray(encoded)
        changed[index] ^= 0x20
        for damaged in (bytes(changed), encoded[:index]):
            try:
                found = decode_progress(damaged, signer)
            except UnusableProgressError:
                continue
            assert found == RECORD  # Another writing of the same hexadecimal digits.


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\n",
        bytes(4096),
        b"x" * (MOST_PROGRESS_BYTES + 1),
        encode_progress(RECORD, None).replace(b"progress 1", b"progress 2"),
        sealed(b""),
        sealed(b"[]"),
        sealed(b"{}"),
        sealed(b"\xff"),
        sealed(b"[" * 60_000),
        sealed(b'{"cursor":' + b"1" * 6_000 + b"}"),
        forged(cursor=[1]),
        forged(cursor=None),
        forged(cursor={"a": "x" * 20_000}),
        forged(cursor={"a": float("nan")}),
        forged(done="many"),
        forged(done=None),
        forged(done=10**400),
        forged(done=True),
        forged(total=False),
        forged(total=float("inf")),
        forged(done=-1),
        forged(done=2e300),
        forged(total=-0.5),
        forged(total=10**301),
        forged(total="many"),
        forged(note="x" * 201),
        forged(at=-1),
        forged(at=253_402_300_800.0),
        forged(at=True),
        forged(at="now"),
        forged(began=None),
        forged(number="3"),
        forged(flow=None),
        forged(step=["pages"]),
        forged(run_id=7),
        forged(note={}),
    ],
)
def test_what_is_no_record_is_passed_over(encoded: bytes) -> None:
    """Bytes of any kind raise the one error whose text holds nothing of them."""
    with pytest.raises(UnusableProgressError) as caught:
        decode_progress(encoded, None)
    assert len(str(caught.value)) < 60
    assert "many" not in str(caught.value)


@pytest.mark.parametrize(
    "facts", [{"done": 0}, {"done": 1e300, "total": 0}, {"total": None, "note": None}, {"at": 0}]
)
def test_amounts_at_the_bounds(facts: dict[str, Any]) -> None:
    """What a step may say is read."""
    assert decode_progress(forged(**facts), None) == RECORD._replace(**facts)


def test_keys_of_a_later_version_are_passed_over() -> None:
    """A later minor version may add facts."""
    assert decode_progress(forged(SIGNER, unit="pages"), SIGNER) == RECORD
