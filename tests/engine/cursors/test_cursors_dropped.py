"""A cursor is of one step of one run: nothing else that begins is given it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cursor_flows import PLACES, CursorStore

from aiocheckpoint import Pause, current_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

CURSOR = {"page": 3}


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CursorStore:
    """A store of each kind, whose run broke in its second step with a cursor."""
    made = CursorStore(tmp_path, request.param)
    leave(made, ValueError())
    assert made.record() is not None
    return made


def leave(store: CursorStore, error: BaseException, **options: Any) -> None:  # noqa: ANN401
    """Run into an error behind a cursor, or into a pause."""

    def work(state: State) -> None:
        current_step().progress(3, cursor=CURSOR)
        raise error

    cp = store.flow(work, **options)
    if isinstance(error, Pause):
        cp.run({}, run_id=store.run_id)
    else:
        with pytest.raises(type(error)):
            cp.run({}, run_id=store.run_id)
    store.seen.clear()


def stays(state: State) -> None:
    """Break without a cursor."""
    raise ValueError


def seen_by(store: CursorStore, **arguments: Any) -> list[State | None]:  # noqa: ANN401
    """The cursors of two attempts at the step, the first begun by a run with these arguments."""
    cp = store.flow(stays)
    for more in (arguments, {}):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            cp.run(run_id=store.run_id, **more)
    return store.seen


def test_it_is_there_at_all(store: CursorStore) -> None:
    """Without any of the below, both attempts have it."""
    assert seen_by(store) == [CURSOR, CURSOR]


def test_checkpoint_begins_without_it(store: CursorStore) -> None:
    """`checkpoint=` begins the step anew, and the next attempt has nothing of before."""
    assert seen_by(store, checkpoint="pages") == [None, None]
    assert store.record() is None


def test_checkpoint_of_an_earlier_step_drops_it(store: CursorStore) -> None:
    """A run that goes back comes to the step without a cursor."""
    assert seen_by(store, checkpoint="fetch") == [None, None]


def test_new_run_has_none(store: CursorStore) -> None:
    """A run that begins anew has the same step, and not its cursor."""
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [CURSOR]
    store.seen.clear()
    assert seen_by(store, state={}) == [None, None]


def test_fresh_run_in_the_place_of_an_unfinished_one_has_none(tmp_path: Path) -> None:
    """Without a run id, a state given at the first step begins a new run."""
    store = CursorStore(tmp_path, "file")

    def pages(state: State) -> None:
        store.seen.append(current_step().cursor)
        current_step().progress(3, cursor={"page": state["n"]})
        raise ValueError

    for n in (1, 2):
        cp = store.bare_flow()
        cp.add_step()(pages)
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            cp.run({"n": n})
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        cp.run()
    assert store.seen == [None, None, {"page": 2}]


@pytest.mark.parametrize(
    "change",
    [
        lambda cp, run_id: cp.patch({"n": 1}, run_id=run_id),
        lambda cp, run_id: cp.patch({}, "pages", run_id=run_id),
        lambda cp, run_id: cp.handler.write({"n": 1, "checkpoint_index": 1}, run_id),
        lambda cp, run_id: cp.handler.write(cp.handler.read(run_id), run_id),
    ],
    ids=["patch", "patch of the position", "write", "write of what was read"],
)
def test_patches_drop_it(store: CursorStore, change: Callable[[Any, str | None], object]) -> None:
    """A state that was changed by hand begins its step without a cursor."""
    change(store.flow(stays), store.run_id)
    assert store.record() is None
    assert seen_by(store) == [None, None]


def test_patch_of_a_paused_run_drops_it(store: CursorStore) -> None:
    """A paused run that is patched stays paused, and its cursor is of the state before."""
    leave(store, Pause("ask"))
    assert store.record() is not None
    cp = store.flow(stays)
    assert cp.patch({"n": 1}, run_id=store.run_id).status == "paused"
    assert seen_by(store) == [None, None]


@pytest.mark.parametrize("deletes", ["reset", "remove"])
def test_deleted_runs_leave_none(store: CursorStore, deletes: str) -> None:
    """Behind a deleted run the store has nothing, and a new run of its id and number has none."""
    cp = store.flow(stays)
    if deletes == "reset":
        cp.reset(run_id=store.run_id)
    else:
        cp.handler.remove(store.run_id)
    assert store.record() is None
    assert seen_by(store, state={}) == [None, None]


def test_a_renamed_step_begins_without_it(store: CursorStore) -> None:
    """The step that broke may be renamed. The cursor was that of the old one."""
    cp = store.bare_flow()
    for name in ("fetch", "rows", "tell"):
        cp.add_step(name=name)(lambda state: store.seen.append(current_step().cursor))
    cp.run(run_id=store.run_id)
    assert store.seen == [None, None]
    assert store.record() is None


@pytest.mark.parametrize(("goes_to", "has"), [(None, CURSOR), ("pages", CURSOR), ("fetch", None)])
def test_migrate_keeps_it_at_the_same_step(
    store: CursorStore, goes_to: str | None, has: State | None
) -> None:
    """A run of an older version keeps the cursor of the step at which it goes on."""
    cp = store.flow(stays, version=2, migrate=lambda state, version: goes_to)
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        cp.run(run_id=store.run_id)
    assert store.seen == [has]


def test_a_record_that_outlived_its_run_is_passed_over(store: CursorStore) -> None:
    """A record that another program brings back is of an earlier run, and is deleted."""
    record = store.record()
    cp = store.flow(stays)
    cp.reset(run_id=store.run_id)
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        cp.run({}, run_id=store.run_id)
    with cp.handler.locked(store.run_id) as lock:
        cp.handler.write_progress(store.run_id, record, lock=lock)
    assert seen_by(store)[1:] == [None, None]
    assert store.record() is None


def test_a_plan_and_a_refused_run_leave_it(store: CursorStore) -> None:
    """Who only looks, or is refused, deletes nothing."""
    before = store.record()
    cp = store.flow(stays)
    assert cp.plan(run_id=store.run_id, checkpoint="pages").first == "pages"
    other = store.bare_flow()
    other.add_step(name="other")(stays)
    with pytest.raises(Exception, match="other"):
        other.run(run_id=store.run_id)
    assert store.record() == before
    assert seen_by(store) == [CURSOR, CURSOR]
