r"""The record of a step's progress as bytes, with a digest and perhaps a signature.

    line      ASCII: "aiocheckpoint progress 1", the SHA-256 of the body in hexadecimal digits, the
              id of the secret and the signature in such digits or "-" for each, and a newline
    body      JSON in UTF-8: an object with the attributes of `ProgressRecord`, the cursor as an
              object of its own

The signature is an HMAC-SHA256 of the body behind a label. Its key is derived from the secret and
the name of the flow, as that of snapshots is. Run, number and step are part of the body, so that no
record can stand for another run or step.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._model.cursor import MOST_CURSOR_BYTES, encode_cursor
from aiocheckpoint._model.progress_arguments import checked_amount, checked_note, checked_total
from aiocheckpoint._model.progress_record import ProgressRecord
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.signing import Signer

__all__ = [
    "MOST_PROGRESS_BYTES",
    "UnusableProgressError",
    "decode_progress",
    "encode_progress",
]

MOST_PROGRESS_BYTES: Final = MOST_CURSOR_BYTES + (1 << 16)
"""The most bytes of a record. Three names of 1,000 characters each take at most 36,000."""
_MAGIC = b"aiocheckpoint progress 1"
_LABEL = b"aiocheckpoint progress\0"
_WORDS_BEHIND_MAGIC = 3
_YEAR_9999 = 253_370_764_800
"""Its beginning. Later ones are no `datetime` in each time zone."""
_NUMBER = float, int
_DAMAGE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, CheckpointError)


class UnusableProgressError(Exception):
    """A stored record is damaged, not to be trusted, or of a later version.

    Its text is the reason, and holds nothing of the record.
    """


def encode_progress(record: ProgressRecord, signer: Signer | None) -> bytes:
    """Encode a record, signed where the flow has a secret."""
    facts = record._asdict()
    cursor: str = facts.pop("cursor")
    # Without the cursor it is ASCII, since the names of others may have surrogates.
    body = f'{json.dumps(facts, separators=(",", ":"))[:-1]},"cursor":{cursor}}}'.encode()
    key_id = signature = "-"
    if signer is not None:
        key_id, signature = (one.hex() for one in signer.sign(_LABEL + body))
    digest = hashlib.sha256(body).hexdigest()
    return b"%b %b\n%b" % (_MAGIC, f"{digest} {key_id} {signature}".encode(), body)


def decode_progress(encoded: bytes, signer: Signer | None) -> ProgressRecord:
    """Decode a record, and check its digest and, under a secret, its signature.

    Args:
        encoded: The bytes.
        signer: Verifies the signature. None where no signature is required.

    Raises:
        UnusableProgressError: It is damaged, not correctly signed, or of a later version.
    """
    if len(encoded) > MOST_PROGRESS_BYTES:
        raise UnusableProgressError(f"it has more than {MOST_PROGRESS_BYTES:,} bytes")
    line, _, body = encoded.partition(b"\n")
    words = line.removeprefix(_MAGIC).split()
    if not line.startswith(_MAGIC) or len(words) != _WORDS_BEHIND_MAGIC:
        raise UnusableProgressError("it is damaged, or of a later version")
    digest, key_id, signature = words
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise UnusableProgressError("it is damaged")
    if signer is not None and not _is_signed(signer, key_id, signature, body):
        raise UnusableProgressError("it is not signed with a secret of the flow")
    try:
        return _record(json.loads(body))
    except _DAMAGE:
        raise UnusableProgressError("it is damaged") from None


def _is_signed(signer: Signer, key_id: bytes, signature: bytes, body: bytes) -> bool:
    try:
        key, signed = bytes.fromhex(key_id.decode()), bytes.fromhex(signature.decode())
    except ValueError:
        return False
    return signer.verifies(key, signed, _LABEL + body)


def _record(values: Any) -> ProgressRecord:  # noqa: ANN401 - any JSON
    """Make the record of a decoded body. Keys that a later version added are skipped.

    Raises:
        Exception: One of `_DAMAGE`: the body is no record.
    """
    known = {name: values[name] for name in ProgressRecord._fields}
    known["cursor"] = encode_cursor(known["cursor"])
    record = ProgressRecord(**known)
    texts = [record.flow, record.step, *([] if record.run_id is None else [record.run_id])]
    numbers = record.number, record.began, record.at
    if not all(type(text) is str for text in texts):
        raise TypeError
    if not all(type(one) in _NUMBER and math.isfinite(one) for one in numbers):
        raise TypeError
    _check_told(record)
    return record


def _check_told(record: ProgressRecord) -> None:
    """Check what `progress()` checks, since displays rely on it.

    Raises:
        Exception: One of `_DAMAGE`.
    """
    checked_amount("done", record.done)
    checked_total(record.total)
    if record.note != checked_note(record.note) or not 0 <= record.at < _YEAR_9999:
        raise ValueError
