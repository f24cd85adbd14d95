"""The record of the state that a run began with: its digest, as a header holds it.

The record is a text of two or three parts, separated by colons: how it was made, the digest of the
plain data, and the digest of all values where not all are plain data. A digest is "sha256" without
a secret. With one, it is an HMAC by a key that is derived from the secret, so that nobody else can
guess a state and compare. The first part is then the id of the secret. The run id is part of the
message: equal states of two runs have different records.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.state_digest import digest_state

if TYPE_CHECKING:
    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._snapshot.signing import Signer

__all__ = ["compare_states", "record_state"]

_UNKEYED = "sha256"
_BYTES = 16
"""The length of a digest. It is to tell states apart, and proves nothing."""


def record_state(state: dict[str, Any], signer: Signer | None, run_id: str | None) -> str:
    """Make the record of a state."""
    return _record(state, _UNKEYED if signer is None else signer.ids[0], signer, run_id)


def compare_states(
    record: str, state: dict[str, Any], signer: Signer | None, run_id: str | None
) -> Sameness:
    """Compare a state with a record, which an earlier one of several secrets may have made."""
    method, _, digests = record.partition(":")
    if method != _UNKEYED and (signer is None or method not in signer.ids):
        return "unknown"
    mine = _record(state, method, signer, run_id).partition(":")[2]
    if hmac.compare_digest(mine, digests):
        return "equal"
    return "similar" if mine.split(":")[0] == digests.split(":")[0] else "different"


def _record(state: dict[str, Any], method: str, signer: Signer | None, run_id: str | None) -> str:
    plain, whole = digest_state(state)
    if signer is not None and method != _UNKEYED:
        scope = b"" if run_id is None else b"run " + run_id.encode("utf-8", "surrogatepass")
        key_id = bytes.fromhex(method)
        plain = signer.digest(key_id, plain + scope)
        whole = None if whole is None else signer.digest(key_id, whole + scope)
    record = f"{method}:{plain[:_BYTES].hex()}"
    return record if whole is None else f"{record}:{whole[:_BYTES].hex()}"
