"""Checks of the snapshots of a run, for every state handler."""

from __future__ import annotations

import contextlib
import re
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._urls import redact_url
from aiocheckpoint.testing._checking import ODD_IDS, bytes_of, fresh, must, not_checked

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["SNAPSHOT_CHECKS"]

_ROWS = [bytes(300_000)] * 3 + [bytes(9) * 99_999]


def check_nothing_stored(make: Make) -> None:
    """Where nothing is stored, reading gives nothing and deleting does nothing."""
    with fresh(make, "nothing") as handler:
        must(handler.open("nothing") is None, "open() gives None where nothing is stored")
        must(handler.header("nothing") is None, "header() gives None where nothing is stored")
        must(handler.read("nothing") == {}, "read() gives {} where nothing is stored")
        must(not handler.kept("nothing"), "kept() is empty where nothing is stored")
        handler.remove("nothing")


def check_stored_state(make: Make) -> None:
    """A second handler of the same store reads the snapshot of the first, until it is deleted."""
    with fresh(make, "round") as handler:
        handler.write({"n": 1, "checkpoint_index": 2}, "round")
        handler.write({"n": 2, "checkpoint_index": 3}, "round")
        other = make()
        must(other.read("round") == {"n": 2, "checkpoint_index": 3}, "the newest state is read")
        header = other.header("round")
        own = header is not None and (header.position, header.run_id) == (3, "round")
        must(own, "a stored snapshot has the header of its run")
        other.remove("round")
        must(handler.read("round") == {}, "remove() deletes the snapshot for all")
        must(not handler.kept("round"), "remove() deletes the retained snapshots as well")


def check_location_of_url(make: Make) -> None:
    """Locations stand in errors and logs, so they show no password of a URL."""
    with fresh(make, "a") as handler:
        urls = re.findall(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,<>'\"]+", handler.locate(None))
        shown = [url for url in urls if redact_url(url) != url]
        must(not shown, "locate() shows no user, password or query of a URL")


def check_runs_apart(make: Make) -> None:
    """Each run has a location of its own, even with an odd id."""
    with contextlib.ExitStack() as stack:
        handler = stack.enter_context(fresh(make, None))
        for odd_id in ODD_IDS:
            stack.enter_context(fresh(make, odd_id))
        everyone: tuple[str | None, ...] = (None, *ODD_IDS)
        locations = set(map(handler.locate, everyone))
        must(len(locations) == len(everyone), "locate() names each run's location")
        for run_id in everyone:
            handler.write({"id": run_id}, run_id)
        for run_id in everyone:
            must(handler.read(run_id)["id"] == run_id, f"run {run_id!r} has its own state")
        handler.remove("a")
        must(handler.read("A"), "deleting one run leaves the others")


def check_whole_or_not_at_all(make: Make) -> None:
    """A write that raises leaves the old snapshot unchanged."""
    with fresh(make, "whole") as handler:
        handler.write({"n": 1}, "whole")
        before = bytes_of(handler, "whole")
        for error in (ValueError("in the middle"), KeyboardInterrupt(), SystemExit(1)):
            write_to = partial(_write_and_raise, error)
            raised: BaseException | None = None
            try:
                handler.replace("whole", write_to)
            except BaseException as caught:  # noqa: BLE001 - looked at
                raised = caught
            must(raised is error, "replace() raises the exception of write_to unchanged")
            must(bytes_of(make(), "whole") == before, "the old snapshot stays as it was")


def check_large_states(make: Make) -> None:
    """States of several MiB are stored."""
    with fresh(make, "large") as handler:
        handler.write({"rows": _ROWS}, "large")
        must(handler.read("large")["rows"] == _ROWS, "a large state comes back")


def check_rewind(make: Make) -> None:
    """A state with a function is stored, for which the target is rewound."""
    if make().codec.allow is not None:
        raise not_checked("allow= is given, so that plain data alone is stored")
    with fresh(make, "large") as handler:
        # The C pickler fails at the function, and dill writes everything once more.
        state: dict[str, Any] = {"rows": _ROWS, "function": lambda: 42}
        handler.write(state, "large")
        found = handler.read("large")
        must(found["rows"] == _ROWS, "rewind() empties the target")
        must(found["function"]() == 42, "functions come back")  # noqa: PLR2004


def check_read_back(make: Make) -> None:
    """The bytes written so far can be read back before the snapshot is in place."""
    with fresh(make, "back") as handler:
        seen: list[bytes] = []

        def write_to(target: SnapshotTarget) -> Header:
            target.write(b"abc")
            with target.read_back() as file:
                seen.append(file.read())
            raise LookupError

        with contextlib.suppress(LookupError):
            handler.replace("back", write_to)
        must(seen == [b"abc"], "read_back() gives the bytes written")


def check_readers(make: Make) -> None:
    """A reader beside a writer sees whole snapshots, and none older than the last one seen."""
    with fresh(make, "readers") as handler:
        handler.write({"n": 0}, "readers")

        def write() -> None:
            for number in range(1, 60):
                handler.write({"n": number, "filling": "x" * 10_000}, "readers")

        writer = threading.Thread(target=write)
        writer.start()
        last = 0
        while writer.is_alive():
            number = make().read("readers")["n"]
            must(number >= last, "a reader never sees an older snapshot after a newer one")
            last = number
        writer.join()
        must(make().read("readers")["n"] == 59, "the last snapshot stays")  # noqa: PLR2004


def check_kept_snapshots(make: Make) -> None:
    """Each retained snapshot in the list can be opened, and its header has the same numbers."""
    with fresh(make, "kept") as handler:
        for number in range(5):
            handler.write({"n": number}, "kept")
        names = handler.kept("kept")
        must(names == sorted(names, key=lambda name: -name[1]), "kept() lists the newest first")
        for name in names:
            with handler.stored("kept", name) as found:
                key = None if found is None else (found.header.number, found.header.sequence)
                must(key == name, "kept() lists snapshots by the numbers in their headers")


def _write_and_raise(error: BaseException, target: SnapshotTarget) -> Header:
    target.write(b"half of a snapshot")
    raise error


SNAPSHOT_CHECKS: tuple[Check, ...] = (
    check_nothing_stored,
    check_stored_state,
    check_location_of_url,
    check_runs_apart,
    check_whole_or_not_at_all,
    check_large_states,
    check_rewind,
    check_read_back,
    check_readers,
    check_kept_snapshots,
)
"""Each check is called with `make`, see `check_handler`."""
