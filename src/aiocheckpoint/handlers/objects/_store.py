"""A bucket, and a prefix in it, as a place of many runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from aiocheckpoint.handlers.leased._store import StorePlace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ObjectStore"]


@dataclass(frozen=True)
class ObjectStore(StorePlace):
    """A prefix in a bucket.

    Attributes:
        place: The bucket and the prefix, for messages.
        prefix: The prefix of all keys, empty or ending in "/".
        identity: Equal for two handlers of one bucket with the same configuration.
        bucket: The store of obstore.
        made_by: The function that makes the place, and its arguments. A pickle has them alone.
    """

    kind: ClassVar[str] = "the object store"
    largest_payload: ClassVar[int] = 4_900_000_000
    """One request stores a snapshot, and S3 takes 5 GB by one
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html)."""

    place: str
    prefix: str
    identity: object
    bucket: object = field(compare=False)
    made_by: tuple[Callable[..., ObjectStore], tuple[object, ...]] = field(compare=False)

    def __reduce__(self) -> tuple[Callable[..., ObjectStore], tuple[object, ...]]:
        return self.made_by

    def connect(self) -> object:
        """Give the store of obstore for one opening, whose connections are closed with it.

        It is the very store that a program has given.
        """
        make, arguments = self.made_by
        return make(*arguments).bucket

    @property
    def location(self) -> str:
        """The place for messages, without a password."""
        return self.place
