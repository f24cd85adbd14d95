"""What a store keeps of the progress of a step, as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cursor_flows import SECRET, CursorStore

from aiocheckpoint import current_step
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

PLACES = ("file", "directory", "database", "signed directory", "signed database")


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CursorStore:
    """A store of each kind, whose run broke behind its third page."""
    made = CursorStore(tmp_path, request.param)

    def work(state: State) -> None:
        current_step().progress(3, 9.5, "pages", cursor={"page": 3})
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        made.flow(work).run({}, run_id=made.run_id)
    made.bare_flow().handler.close()
    return made


def test_progress_is_shown_and_the_cursor_when_asked_for(store: CursorStore) -> None:
    """One run shows how far its step is. Its cursor is a value, and shown as such."""
    with open_store(store.path) as opened:
        run, asked = (opened.run(store.run_id, values=values) for values in (False, True))
        listed = [one.progress for one in opened.runs()]
    assert run.progress is not None
    assert asked.progress is not None
    assert (run.progress.step, run.progress.done, run.progress.total) == ("pages", 3, 9.5)
    assert (run.progress.note, run.progress.cursor_size) == ("pages", len('{"page":3}'))
    assert run.started_at <= run.progress.at
    assert (run.progress.cursor, run.progress.shown) == (None, False)
    assert (asked.progress.cursor, asked.progress.shown) == ({"page": 3}, True)
    assert [(one.done, one.note) for one in run.steps] == [(None, None), (3, "pages"), (None, None)]
    assert listed == [None]
    assert "page" not in str(run.to_json()["progress"]["cursor"])


def test_progress_of_another_step_or_run_is_not_shown(store: CursorStore) -> None:
    """A record that is not of the step where the run stands is passed over."""
    record = store.record()
    store.flow(lambda state: None).run(run_id=store.run_id)
    handler = store.bare_flow().handler
    with handler.locked(store.run_id) as lock:
        handler.write_progress(store.run_id, record, lock=lock)
    handler.close()
    with open_store(store.path) as opened:
        assert opened.run(store.run_id).progress is None


def test_progress_that_is_not_trusted_is_not_shown(store: CursorStore) -> None:
    """With secrets, an unsigned or forged record is not shown. Without, nothing is checked."""
    if not store.options:
        pytest.skip("this store is not signed")
    record = store.record() or b""
    handler = store.bare_flow().handler
    with open_store(store.path, secret=SECRET) as opened:
        assert opened.run(store.run_id).progress is not None
    unsigned = b" ".join([*record.split(b" ")[:4], b"-", b"-\n"]) + record.partition(b"\n")[2]
    with handler.locked(store.run_id) as lock:
        handler.write_progress(store.run_id, unsigned, lock=lock)
    handler.close()
    with open_store(store.path, secret=SECRET) as opened:
        assert opened.run(store.run_id).progress is None
    with open_store(store.path) as opened:
        assert opened.run(store.run_id).progress is not None
