"""Plans made of a header and a request alone: each decision, and the words for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aiocheckpoint import FlowChangedError, Header, InvalidTypeError, InvalidValueError
from aiocheckpoint._model.header import Failure
from aiocheckpoint._model.loading import check_policy
from aiocheckpoint._model.plan import Plan, make_plan
from aiocheckpoint._model.request import Request
from aiocheckpoint._model.start_points import find_step
from aiocheckpoint._model.steps import Steps, make_step
from aiocheckpoint.errors import FlowDefinitionError

NAMES = ("a", "b", "c", "d")
GIVEN: dict[str, Any] = {"who": "given"}
STEPS = Steps(
    make_step(
        lambda state: None,
        None if name == "d" else lambda state: {},
        None,
        name=name,
        thread=False,
    )
    for name in NAMES
)
"""Four steps, of which all but the last have a loader."""


def header(position: int, status: Any = "stopped", **fields: Any) -> Header:  # noqa: ANN401
    """Make the header of a stored run."""
    named: dict[str, Any] = {"steps": NAMES, "number": 1, "run_id": "x", **fields}
    return Header(flow="f", position=position, status=status, **named)


def failure(step: str, part: str = "step") -> Failure:
    """Make the record of a failure."""
    return Failure(step=step, part=part, type="E", message="m", traceback="t", at=1.0, seconds=1.0)


def plan(stored: Header | None, history: tuple[Header, ...] = (), **request: Any) -> Plan:  # noqa: ANN401
    """Make a plan."""
    return make_plan(STEPS, stored, Request(**request), "the place", history)


def decision(made: Plan) -> tuple[object, ...]:
    """The decisions of a plan."""
    return made.start, made.source, made.fresh, made.relocates, made.ignores_given


FRESH, REST = True, False
LEFT, MOVED = False, True
HEEDED, IGNORED = False, True


@pytest.mark.parametrize(
    ("stored", "request_", "expected"),
    [
        (None, {}, (0, "empty", FRESH, LEFT, HEEDED)),
        (None, {"state": GIVEN}, (0, "given", FRESH, LEFT, HEEDED)),
        (None, {"checkpoint": "c"}, (2, "empty", FRESH, LEFT, HEEDED)),
        (header(2), {}, (2, "stored", REST, LEFT, HEEDED)),
        (header(2), {"state": GIVEN}, (2, "stored", REST, LEFT, IGNORED)),
        (header(2), {"checkpoint": 2}, (2, "stored", REST, LEFT, HEEDED)),
        (header(2), {"checkpoint": 1}, (1, "stored", REST, MOVED, HEEDED)),
        (header(2), {"checkpoint": 3}, (3, "stored", REST, MOVED, HEEDED)),
        (header(2), {"checkpoint": 1, "state": GIVEN}, (1, "stored", REST, MOVED, IGNORED)),
        (header(0), {}, (0, "stored", REST, LEFT, HEEDED)),
        (header(0, run_id=None), {"state": GIVEN}, (0, "given", FRESH, LEFT, HEEDED)),
        (header(0), {"state": GIVEN}, (0, "stored", REST, LEFT, IGNORED)),
        (header(0), {"state": GIVEN, "checkpoint": 0}, (0, "given", FRESH, LEFT, HEEDED)),
        (header(0), {"state": GIVEN, "checkpoint": 1}, (1, "given", FRESH, LEFT, HEEDED)),
        (header(0, number=0), {"state": GIVEN}, (0, "given", FRESH, LEFT, HEEDED)),
        (header(0), {"state": GIVEN, "once": True}, (0, "stored", REST, LEFT, IGNORED)),
        (header(0, number=0), {"state": GIVEN, "once": True}, (0, "given", FRESH, LEFT, HEEDED)),
        (header(4), {}, (4, "stored", REST, LEFT, HEEDED)),
        (header(2, "paused"), {}, (2, "stored", REST, MOVED, HEEDED)),
        (header(2, "paused"), {"update": {}}, (2, "stored", REST, MOVED, HEEDED)),
        (header(2, "running"), {}, (2, "stored", REST, LEFT, HEEDED)),
        (header(0, "finished"), {}, (0, "stored", FRESH, LEFT, HEEDED)),
        (header(0, "finished"), {"state": GIVEN}, (0, "given", FRESH, LEFT, HEEDED)),
        (header(0, "finished"), {"checkpoint": 2}, (2, "stored", FRESH, LEFT, HEEDED)),
        # No version writes it, but a file may hold it: what is finished begins anew.
        (header(3, "finished"), {}, (0, "stored", FRESH, LEFT, HEEDED)),
    ],
)
def test_decisions(
    stored: Header | None, request_: dict[str, Any], expected: tuple[object, ...]
) -> None:
    """Start and origin of the state, whether it is a new run, relocated, and ignores a dict."""
    assert decision(plan(stored, **request_)) == expected


def test_newest_older_snapshot_on_entry() -> None:
    """`checkpoint=` goes back to the newest older snapshot on entry to that step, if any."""
    history = (
        header(2, sequence=4),
        header(1, sequence=3),
        header(1, sequence=2),
        header(1, "finished", sequence=1),
    )
    made = plan(header(3, sequence=5), history, checkpoint="b")
    assert decision(made) == (1, "kept", REST, MOVED, HEEDED)
    assert made.kept is history[1]
    assert plan(header(3), history, checkpoint="d").source == "stored"
    assert plan(header(3), history, checkpoint="a").source == "stored"
    assert plan(header(3), history).kept is None
    assert plan(header(1, sequence=5), history, checkpoint="b").source == "stored"
    after = plan(header(0, "finished"), history, checkpoint="b")
    assert (after.source, after.fresh, after.kept) == ("kept", REST, history[1])
    assert plan(header(0), history, checkpoint="b", state=GIVEN).source == "given"


LOADERS = {
    "first only": (False, True, False, False),
    "always": (False, True, True, False),
}


@pytest.mark.parametrize("policy", LOADERS)
def test_loaders(policy: Any) -> None:  # noqa: ANN401
    """Loaders of the steps that run are called, and none of a step that has none."""
    assert plan(header(1), load_policy=policy).loads == LOADERS[policy]
    assert plan(header(3), load_policy=policy).loads == (False,) * 4
    assert plan(header(1), load_policy=[True] * 4).loads == (False, True, True, False)
    assert plan(None, load_policy="always", until="b").loads == (True, True, False, False)
    assert plan(None, load_policy="always", until="a").loads == (True, False, False, False)


@pytest.mark.parametrize(
    ("holds_data", "request_", "restores"),
    [
        (True, {"keep_data": True}, True),
        (False, {"keep_data": True}, False),
        (True, {}, False),
    ],
)
def test_data_from_the_checkpoint(
    holds_data: bool,  # noqa: FBT001
    request_: dict[str, Any],
    restores: bool,  # noqa: FBT001
) -> None:
    """With `keep_data` the rest of a run has the stored `data`, and calls no first loader."""
    made = plan(header(1, holds_data=holds_data), **request_)
    assert made.restores_data is restores
    assert made.loads == (False, not restores, False, False)
    begun = plan(header(0, holds_data=holds_data, run_id=None), state=GIVEN, **request_)
    assert (begun.restores_data, begun.loads[0]) == (False, True)
    kept = (header(1, holds_data=holds_data),)
    assert plan(header(2), kept, checkpoint=1, **request_).restores_data is restores


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "nothing is stored yet"),
        (header(0, "finished"), "the last run finished"),
        (header(1, "stopped"), "the last run was stopped there"),
        (header(1, "paused"), "the last run was paused there (pause 0)"),
        (header(1, "paused", failure=failure("b")), "the last run was paused there (pause 0)"),
        (header(1, "running"), "the last run got that far"),
        (
            header(1, "running", failure=failure("b")),
            "the last run ended between attempts at 'b'",
        ),
        (header(1, "failed", failure=failure("b", "save")), "the last run broke in 'b' (save)"),
        (
            header(1, "cancelled", failure=failure("b", "load")),
            "the last run was cancelled in 'b' (load)",
        ),
    ],
)
def test_reasons(stored: Header | None, words: str) -> None:
    """A plan says what came before the run, or that the caller chose the start."""
    assert plan(stored).reason == words
    assert plan(stored, checkpoint="b").reason == "checkpoint='b' says so"


def test_words() -> None:
    """The words of a plan have the step, the steps that run, the loaders, and what is ignored."""
    made = plan(header(1), state=GIVEN, until="c")
    assert str(made) == (
        "Starts at step 2 of 4, 'b', with the stored state: the last run was stopped there.\n"
        "Runs 'b', 'c'.\n"
        "Calls the loader of 'b'.\n"
        "Does not call the loader of 'c'.\n"
        "Stops after 'c'. The next run resumes there.\n"
        "Ignores the given state: the unfinished run has its own."
    )
    assert str(plan(header(3, holds_data=True), keep_data=True)) == (
        "Starts at step 4 of 4, 'd', with the stored state: the last run was stopped there.\n"
        "Runs 'd'.\n"
        "Calls no loader.\n"
        "Has the data that the checkpoint holds."
    )
    kept = plan(header(2), (header(0),), checkpoint=0)
    assert str(kept).startswith(
        "Starts at step 1 of 4, 'a', with the state as it was on entry to it: checkpoint=0 says so."
    )
    assert "Stops after 'c'. " in str(plan(None, until="c"))
    assert str(plan(header(4))) == "Runs nothing, with the stored state: no step is left."
    assert (plan(header(4)).first, plan(header(3)).first) == (None, "d")


def test_done_once() -> None:
    """Under `once`, a finished run with a number runs nothing, whatever became of the steps."""
    done = plan(header(0, "finished"), once=True, state=GIVEN)
    assert (done.start, done.stop, done.loads, done.done) == (0, 0, (False,) * 4, True)
    assert decision(done) == (0, "stored", REST, LEFT, IGNORED)
    assert (done.kept, done.restores_data, plan(None).done) == (None, False, False)
    assert str(done) == (
        "Runs nothing, and gives the stored state: "
        "the run finished, and once=True gives its result."
    )
    assert not plan(header(0, "finished", number=0), once=True).done
    assert not plan(header(1), once=True).done
    assert not plan(None, once=True).done
    assert not plan(header(0, "finished")).done
    renamed = header(0, "finished", steps=("a", "b", "c", "other"))
    assert plan(renamed, once=True, state=GIVEN) == done


def test_steps_before_the_position_are_compared() -> None:
    """A step before the position with another name is refused, unless `checkpoint=` is given."""
    renamed = header(2, steps=("a", "other", "c", "d"))
    with pytest.raises(FlowChangedError):
        plan(renamed)
    assert plan(replace(renamed, position=1, status="failed")).start == 1
    sent = plan(renamed, checkpoint=2)
    assert decision(sent) == (2, "stored", REST, MOVED, HEEDED)
    assert plan(replace(renamed, position=0, status="finished")).start == 0
    with pytest.raises(FlowChangedError):
        plan(header(5, steps=(*NAMES, "e")))


@pytest.mark.parametrize(
    ("stored", "words"),
    [(None, "nothing is stored"), (header(1), "'stopped'"), (header(0, "finished"), "'finished'")],
)
def test_update_of_no_paused_run(stored: Header | None, words: str) -> None:
    """An update of a run that is not paused is refused, with its status."""
    with pytest.raises(InvalidValueError, match=words):
        plan(stored, update={"n": 1})


def test_no_steps() -> None:
    """A flow without steps cannot be planned."""
    with pytest.raises(FlowDefinitionError, match="no steps"):
        make_plan(Steps(), None, Request(), "the place")


@pytest.mark.parametrize(
    ("start", "words"), [(2, "until='b' is before 'c', where"), (4, "is before the end, where")]
)
def test_until_before_the_start(start: int, words: str) -> None:
    """An `until` before the start is refused, and the error names the step at the start."""
    with pytest.raises(InvalidValueError, match=words):
        plan(header(start), until="b")
    assert plan(header(1), until="b").stop == 2
    assert (plan(header(1), until=3).stop, plan(header(1)).stop) == (4, 4)


class Index:
    """An integer of another kind, as numpy has them."""

    def __index__(self) -> int:
        """Give the number."""
        return 2


@pytest.mark.parametrize(("wanted", "index"), [("a", 0), ("d", 3), (0, 0), (3, 3), (Index(), 2)])
def test_step_that_is_found(wanted: Any, index: int) -> None:  # noqa: ANN401
    """A step is found by its name or its index."""
    assert find_step(NAMES, wanted, "checkpoint") == index


@pytest.mark.parametrize("wanted", ["e", "", 4, -1, True, False, 1.0, None, b"a"], ids=repr)
def test_step_that_is_none(wanted: Any) -> None:  # noqa: ANN401
    """Anything else is refused: no number but an integer, and no index from the end."""
    kind = InvalidValueError if type(wanted) in {str, int} else InvalidTypeError
    with pytest.raises(kind, match="until"):
        find_step(NAMES, wanted, "until")


@pytest.mark.parametrize(
    ("policy", "kind", "words"),
    [
        ("sometimes", InvalidValueError, "'sometimes' is unknown"),
        ([True] * 3, InvalidValueError, "has 3 bools"),
        ([True] * 5, InvalidValueError, "has 5 bools"),
        ([1, 0, 1, 0], InvalidTypeError, "not a list of int"),
        ([True, None, 1, True], InvalidTypeError, "not a list of NoneType, bool, int"),
        ({True}, InvalidTypeError, r"not a set\."),
        (None, InvalidTypeError, r"not a NoneType\."),
    ],
)
def test_policy_that_is_none(policy: Any, kind: type[Exception], words: str) -> None:  # noqa: ANN401
    """A policy of another kind or length is refused, with its kind or length."""
    with pytest.raises(kind, match=words):
        check_policy(STEPS, policy)


def test_policies_that_fit() -> None:
    """Both words, and a list or tuple of one bool for each step, are policies."""
    for policy in ("first only", "always", [True] * 4, (False,) * 4):
        check_policy(STEPS, policy)  # type: ignore[arg-type]
