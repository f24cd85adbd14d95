"""Each conformance check of locks, lists and pruning detects a broken handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import broken_handlers as broken
import pytest

from aiocheckpoint import LocalStateHandler, RunInProgressError
from aiocheckpoint.testing import HANDLER_CHECKS

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = {check.__name__.removeprefix("check_"): check for check in HANDLER_CHECKS}
LOST_FILE = r"raises LeaseLostError under a lock that was deleted as a file"
LOST = r"raises LeaseLostError under a lock that was released"


def find_out(check: str, kind: type[LocalStateHandler], rule: str, path: Path) -> None:
    """Check that the sound handler passes a check, and that the broken one fails it."""
    CHECKS[check](lambda: LocalStateHandler(path, fsync=False))
    with pytest.raises(AssertionError, match=rule):
        CHECKS[check](lambda: kind(path, fsync=False))


@pytest.mark.parametrize(
    ("check", "kind", "rule"),
    [
        ("held", broken.AlwaysHeld, "a lock that was not taken is not held"),
        ("lock_given_back", broken.Unfenced, rf"replace\(\) {LOST}"),
        ("lock_given_back", broken.FencedIfFree, rf"replace\(\) {LOST} and taken by another owner"),
        ("lock_given_back", broken.RaisesTooLate, "changes nothing under a lock"),
        ("lock_given_back", broken.RemovesAnyway, rf"remove\(\) {LOST}"),
        ("lock_file_deleted", broken.TrustsItsLock, rf"replace\(\) {LOST_FILE}"),
        ("without_lock", broken.StealsLocks, "without a lock, nothing is changed"),
        ("last_snapshot", broken.ReleasesEarly, "gets no second one"),
        ("list_with_damage", broken.TakesAny, "another run's, is not listed"),
        ("starts", broken.CountsNoStarts, "its starts are counted"),
        ("starts", broken.KeepsStarts, "a refused run is as it was"),
        ("ending", broken.ForgetsEndings, "the first request is found"),
        ("ending", broken.KeepsEndings, "deletes the request"),
        ("ending", broken.TakesTheLastEnding, "the first request is found"),
        ("ending", broken.OneEndingForAll, "another run has none"),
        ("unseen_ending", broken.ForgetsEndings, "is terminated at its claim"),
        ("unseen_ending", broken.KeepsEndings, "the request is deleted"),
        ("submitted_again", broken.InsertsOver, "another state is one"),
        ("queue", broken.InsertsNothing, "it is stored when the call returns"),
        ("reader", broken.HidesFromReaders, r"exists\(\) of a reader is true"),
        ("close", broken.LosesAtClose, "what was stored before"),
        ("many_at_once", broken.ForgetsEnds, "each of them is stored as finished"),
        ("filtered_counts", broken.CountsAll, r"count\(\) counts those of statuses"),
    ],
)
def test_broken_locks(check: str, kind: type[LocalStateHandler], rule: str, tmp_path: Path) -> None:
    """The check names the rule that a handler with broken locks or broken trust violates."""
    find_out(check, kind, rule, tmp_path / "c.pkl")


def test_location_with_a_password(tmp_path: Path) -> None:
    """A handler whose locations show the password of its URL fails the check of locations."""

    class Talks(LocalStateHandler):
        def locate(self, run_id: str | None = None) -> str:
            return f"<s3://key:secret@bucket/{super().locate(run_id)}, all runs>"

    find_out("location_of_url", Talks, "no user, password or query", tmp_path / "c.pkl")


def test_one_lock_for_all_runs(tmp_path: Path) -> None:
    """A handler with one lock for all runs fails the check of several locks."""
    with pytest.raises(RunInProgressError):
        CHECKS["many_locks"](lambda: broken.OneLockForAll(tmp_path / "c.pkl", fsync=False))


def test_no_reading_beside_an_owner(tmp_path: Path) -> None:
    """A handler that reads no locked run fails the check of results."""
    with pytest.raises(RunInProgressError):
        CHECKS["replay"](lambda: broken.ReadsNothingLocked(tmp_path / "c.pkl", fsync=False))


@pytest.mark.parametrize(
    ("check", "order", "rule"),
    [
        ("list", "oldest first", "lists the latest begun first"),
        ("list", "made up", "gives the headers as stored"),
        ("list", "endless", "limit= cuts the list"),
        ("list_by_status", "any status", "has the statuses asked for"),
        ("list_by_status", "cut first", "limit= counts the statuses asked for"),
        ("list_by_status", "nothing waits", "has the statuses asked for"),
        ("list_of_due_runs", "at any time", "lists the due runs"),
        ("list_of_due_runs", "by start", "lists the due runs, longest due first"),
        ("list_of_due_runs", "endless if due", "limit= cuts the list"),
        ("list_of_due_runs", "same page", "gives the page behind a run"),
        ("pause", "nothing waits", "listed by its status"),
        ("pause", "any status", "listed by its status, and no other is"),
        ("pause", "no reason", "listed with its reason"),
        ("list_of_odd_ids", "folded", "ids come back as they are"),
        ("pages", "same page", "pages come to an end"),
        ("pages", "by time", "pages make up the list"),
        ("pages", "with the last", "pages come to an end"),
        ("prune", "any age", "asks for older snapshots"),
        ("filtered_list", "unfiltered", "a list has the runs chosen by statuses"),
        ("filtered_list", "filtered last", "pages have the runs chosen by statuses"),
    ],
)
def test_bent_lists(check: str, order: str, rule: str, tmp_path: Path) -> None:
    """The check names the rule that a handler with wrong lists violates."""

    class WrongOrder(broken.Lists):
        """Lists in the wrong order."""

    WrongOrder.order = staticmethod(broken.WRONG_ORDERS[order])
    find_out(check, WrongOrder, rule, tmp_path / "c.pkl")


def test_pages_by_index(tmp_path: Path) -> None:
    """A handler that pages by index fails behind a deleted run."""

    class WrongOrder(broken.Lists):
        """Lists in pages by index."""

    WrongOrder.order = staticmethod(broken.WRONG_ORDERS["by index"])
    with pytest.raises(ValueError, match="not in list"):
        CHECKS["pages"](lambda: WrongOrder(tmp_path / "c.pkl", fsync=False))


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("status", r"prune\(\) returns how many|deletes by age and status"),
        ("lock", r"prune\(\) returns how many|deletes none that is locked"),
        ("count", r"prune\(\) returns how many"),
    ],
)
def test_broken_prunings(fault: str, rule: str, tmp_path: Path) -> None:
    """The check names the rule that a handler with wrong pruning violates."""

    class Broken(broken.Prunes):
        """Prunes with this fault."""

    Broken.fault = fault
    find_out("prune", Broken, rule, tmp_path / "c.pkl")


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("no failures", r"count\(\) gives the number of listed runs"),
        ("one too many", r"count\(\) gives the number of listed runs"),
        ("no other step", r"count\(by='step'\) gives the number of runs at each step"),
    ],
)
def test_wrong_counts(fault: str, rule: str, tmp_path: Path) -> None:
    """The check names the rule that a handler with wrong counts violates."""

    class Wrong(broken.Counts):
        """Counts with this fault."""

    Wrong.miscount = staticmethod(broken.MISCOUNTS[fault])
    find_out("count", Wrong, rule, tmp_path / "c.pkl")


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (broken.BackupOfNothing, "a copy lists the runs of the store"),
        (broken.BackupOverAll, r"backup\(\) refuses a path at which something is"),
    ],
)
def test_wrong_backups(kind: type[LocalStateHandler], rule: str, tmp_path: Path) -> None:
    """The check names the rule that a handler with wrong copies violates."""
    find_out("backup", kind, rule, tmp_path / "c.pkl")
