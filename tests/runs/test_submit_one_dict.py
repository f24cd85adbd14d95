"""One dict for many queued runs: none gets what the source has put into it for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from run_factories import Runs
    from support import Runner

REMEDY = r"Give each run a copy, such as dict(defaults)"


def test_a_source_with_one_dict(runs: Runs, runner: Runner) -> None:
    """All that share it are refused by name, the others are stored, and so is what came before."""

    def source() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "own", {"n": 7}
        state: dict[str, Any] = {}
        for number in range(3):
            state["n"] = number
            yield f"run-{number}", state
        yield "last", {"n": 8}

    cp = runs.flow()
    results = runner.do(cp, "submit", source())
    assert [one.run_id for one in results] == ["own", "run-0", "run-1", "run-2", "last"]
    assert [one.status for one in results] == ["queued", None, None, None, "queued"]
    for one, other in zip(results[1:4], ("run-1", "run-0", "run-0"), strict=True):
        assert isinstance(one.error, InvalidValueError)
        assert REMEDY in str(one.error)
        assert repr(one.run_id) in str(one.error)
        assert repr(other) in str(one.error)
    assert {header.run_id for header in cp.runs()} == {"own", "last"}
    assert (cp.read("own")["n"], cp.read("last")["n"]) == (7, 8)


def test_at_the_end_of_a_piece(runs: Runs) -> None:
    """The run before is not given away before the next one has shown that it has its dict."""

    def source() -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(255):
            yield f"run-{number}", {}
        state = {"n": 1}
        yield "first", state
        state["n"] = 2
        yield "second", state

    cp = runs.flow()
    refused = [one.run_id for one in cp.submit(source()) if one.error is not None]
    assert refused == ["first", "second"]
    assert cp.count() == 255


def test_one_run_with_its_dict_again(runs: Runs, runner: Runner) -> None:
    """A run that comes twice may have its dict twice, and one call after the other may have it."""
    cp, state = runs.flow(), {"n": 1}
    results = runner.do(cp, "submit", [("x", state), ("x", state)])
    results += runner.do(cp, "submit", [("y", state)])
    assert [(one.run_id, one.status) for one in results] == [
        ("x", "queued"),
        ("x", "queued"),
        ("y", "queued"),
    ]
