"""Retries that cannot be meant, and `retry=` where its extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, Pause, Retry

if TYPE_CHECKING:
    from support import FlowFactory

NONSENSE: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({"on": on}, InvalidTypeError) for on in (None, 3, "OSError", (), [OSError], (OSError, 3))),
    *(({"on": on}, InvalidTypeError) for on in (BaseException, KeyboardInterrupt, (Pause,), int)),
    *(({"attempts": number}, InvalidTypeError) for number in (True, "3", 2.0)),
    *(({"attempts": number}, InvalidValueError) for number in (0, -1)),
    *(({"timeout": seconds}, InvalidTypeError) for seconds in ("3", True, [1])),
    *(
        ({"timeout": seconds}, InvalidValueError)
        for seconds in (0, 0.0, timedelta(0), timedelta(-1))
    ),
    ({"wait_exp_base": timedelta(1)}, InvalidTypeError),
    ({"attempts": None, "timeout": None}, InvalidValueError),
    *(
        ({name: wrong}, kind)
        for name in ("timeout", "wait_initial", "wait_max", "wait_jitter", "wait_exp_base")
        for wrong, kind in (
            *((wrong, InvalidValueError) for wrong in (-1, float("nan"), float("inf"), 10**400)),
            *((wrong, InvalidTypeError) for wrong in (False, "1", b"")),
        )
    ),
    *(({name: None}, InvalidTypeError) for name in ("wait_initial", "wait_max", "wait_jitter")),
]


@pytest.mark.parametrize(("options", "kind"), NONSENSE, ids=lambda value: str(value)[:40])
def test_policy_that_is_nonsense(options: dict[str, Any], kind: type[Exception]) -> None:
    """Each field that cannot be meant is refused when the policy is made, and named."""
    with pytest.raises(kind, match=f"{[*options][-1]}="):
        Retry(**options)


@pytest.mark.parametrize("retry", [True, 2.5, "3", OSError, [3], {"attempts": 3}], ids=repr)
def test_retry_of_another_type(retry: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """`retry=` is a number or a policy; anything else is refused at definition."""
    cp = CheckpointFlow(flows.path)
    with pytest.raises(InvalidTypeError, match="retry="):
        cp.add_step(retry=retry)
    assert flows.files() == {}


@pytest.mark.parametrize("retry", [0, -3])
def test_number_that_cannot_be_meant(retry: int, flows: FlowFactory) -> None:
    """There is always a first attempt."""
    with pytest.raises(InvalidValueError, match="attempts="):
        CheckpointFlow(flows.path).add_step(retry=retry)


WITHOUT = """
import sys
sys.modules["stamina"] = None
from aiocheckpoint import CheckpointFlow, MissingExtraError, Retry
cp = CheckpointFlow(sys.argv[1])
for retry in (2, 1, Retry(attempts=3)):
    try:
        cp.add_step(retry=retry)
    except MissingExtraError as error:
        assert (error.wanted, error.missing) == ("retry=", "stamina")
        assert error.install in str(error)
        print(error.install)
cp.add_step(name="a")(lambda state: state.update(done=True))
print(cp.run({}))
"""


def test_without_the_extra(flows: FlowFactory) -> None:
    """Where `stamina` cannot be imported, `retry=` says how to install it; all else works."""
    command = [sys.executable, "-c", WITHOUT, str(flows.path)]
    reported = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert reported == ["pip install 'aiocheckpoint[retry]'"] * 3 + ["{'done': True}"]


def test_not_imported_without_need() -> None:
    """The library imports `stamina` only where a step is to be tried again."""
    program = "import sys, aiocheckpoint, aiocheckpoint.testing; print('stamina' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
