"""Signs snapshots, so that only holders of the secret can make one that is loaded.

A signature is an HMAC-SHA256 (RFC 2104). Its key is derived from the secret and the name of the
flow by HKDF (RFC 5869). A signature for one flow is invalid for another. Run id, sequence
and format version are part of the signed bytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

from aiocheckpoint._concurrency.callables import is_async_callable
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, UnpicklableFlowError

__all__ = ["Secret", "Secrets", "Signer", "make_signer"]

Secret = bytes | str
"""At least 32 random bytes. Of text, the UTF-8 form counts."""
Secrets = Secret | Sequence[Secret] | Callable[[], Secret | Sequence[Secret]]
"""One secret, several, or a function that finds them. Only the function is ever pickled."""

_SHORTEST = 32
_ADVICE = 'python -c "import secrets; print(secrets.token_hex(32))" makes a good one'


class Signer:
    """Signs with the first of several secrets, and verifies with all of them.

    Args:
        secrets: The secrets.
        flow: Name of the flow.
        find: The function that found the secrets, or None.

    Attributes:
        ids: Ids of the secrets, as `Header.signed_by` has them: 16 hexadecimal digits each.
        find: The same as given.
    """

    def __init__(
        self, secrets: Sequence[bytes], flow: str, find: Callable[[], Any] | None = None
    ) -> None:
        self.find: Callable[[], Any] | None = find
        self._flow = flow
        self._keys = {_key_id(secret): _derive(secret, flow) for secret in secrets}
        self._state_keys = {_key_id(secret): _derive_state_key(secret, flow) for secret in secrets}
        self._first = _key_id(secrets[0])
        self.ids: tuple[str, ...] = tuple(key_id.hex() for key_id in self._keys)

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        """Give the id of the first secret, 8 bytes, and the signature, 32 bytes."""
        return self._first, hmac.digest(self._keys[self._first], message, "sha256")

    def verifies(self, key_id: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the signature is from one of the secrets, for this flow."""
        key = self._keys.get(key_id)
        return key is not None and hmac.compare_digest(
            hmac.digest(key, message, "sha256"), signature
        )

    def digest(self, key_id: bytes, message: bytes) -> bytes:
        """Digest a state by a key that is derived from the secret with that id."""
        return hmac.digest(self._state_keys[key_id], message, "sha256")

    def knows(self, key_id: bytes) -> bool:
        """Whether one of the secrets has this id."""
        return key_id in self._keys

    def __repr__(self) -> str:
        """The ids of the secrets, and never a key."""
        return f"<Signer with the secrets {', '.join(self.ids)}>"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        """Pickle the function that finds the secrets. A key is never pickled."""
        self.check_sendable()
        return make_signer, (self.find, self._flow)

    def check_sendable(self) -> None:
        """Check that a function finds the secrets, which can be called in another process.

        Raises:
            UnpicklableFlowError: The secrets were given themselves.
        """
        if self.find is None:
            raise UnpicklableFlowError(
                "a secret is never stored or pickled. Give secret= a function without arguments "
                "that finds it, as in secret=find_secret. The function is pickled, and called "
                "where the flow is loaded."
            )


def make_signer(secret: Any, flow: str) -> Signer:  # noqa: ANN401 - any object of a user
    """Make the signer of a flow from its `secret=`: secrets, or a function that finds them.

    Raises:
        InvalidTypeError: It is neither text nor bytes, nor a list of them.
        InvalidValueError: One is shorter than 32 bytes, or there is none.
        BaseException: The function raised it.
    """
    find: Callable[[], Any] | None = secret if callable(secret) else None
    if find is not None:
        if is_async_callable(find):
            raise InvalidTypeError(
                "secret= is an async function, and it is called without an event loop. Give a "
                "plain function without arguments."
            )
        secret = find()
    several = isinstance(secret, (list, tuple))
    secrets = [_checked(one) for one in (secret if several else (secret,))]
    if not secrets:
        raise InvalidValueError(
            f"secret= is an empty list. Give at least one secret ({_ADVICE}), or leave secret= "
            "out where snapshots need no signature."
        )
    return Signer(secrets, flow, find)


def _checked(secret: object) -> bytes:
    if secret is None:
        raise InvalidTypeError(
            "secret= is None: is the environment variable that should hold it set? Leave secret= "
            "out where snapshots need no signature."
        )
    if not isinstance(secret, (bytes, str)):
        raise InvalidTypeError(
            f"a secret is bytes or text, or several of them in a list, not "
            f"a {type(secret).__name__}."
        )
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if len(raw) < _SHORTEST:
        raise InvalidValueError(
            f"a secret has at least {_SHORTEST} bytes, and this one has {len(raw)}; {_ADVICE}."
        )
    return raw


def _key_id(secret: bytes) -> bytes:
    return _expand(secret, b"key id")[:8]


def _derive(secret: bytes, flow: str) -> bytes:
    return _expand(secret, b"flow " + flow.encode("utf-8", "surrogatepass"))


def _derive_state_key(secret: bytes, flow: str) -> bytes:
    return _expand(secret, b"state of " + flow.encode("utf-8", "surrogatepass"))


def _expand(secret: bytes, info: bytes) -> bytes:
    """HKDF with SHA-256 for one block of output (RFC 5869, sections 2.2 and 2.3)."""
    extracted = hmac.digest(b"aiocheckpoint snapshot signature", secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
