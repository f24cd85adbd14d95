"""The digest of a step's code: the same for the same code, whatever stands around it."""

from __future__ import annotations

import ast
import functools
import gc
import importlib.util
import itertools
import linecache
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint._model import code_digest, code_texts
from aiocheckpoint._model.steps import Steps, make_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint._model.code_digest import StepCode

SOURCE, CODE = "s", "c"
NUMBERS = itertools.count()


def code_of(function: Any, load: Any = None, save: Any = None) -> StepCode:  # noqa: ANN401
    """The code of a step."""
    return make_step(function, load, save, name="step", thread=True).code


def defined(text: str, *, kind: str = SOURCE, head: str = "", name: str = "step") -> Any:  # noqa: ANN401
    """Execute a text as a cell of a notebook, with or without its source, and give a name of it."""
    cell, filename = head + text, f"<cell {next(NUMBERS)}>"
    if kind == SOURCE:
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {}
    exec(compile(cell, filename, "exec"), namespace)  # noqa: S102
    return namespace[name]


def digest(text: str, *, kind: str = SOURCE, head: str = "", name: str = "step") -> str:
    """The digest of a step of such a cell."""
    found = code_of(defined(text, kind=kind, head=head, name=name)).digest
    assert found.startswith(f"{kind}3.")
    return found


NAMES = st.sampled_from(["x", "y", "total"])
CONSTANTS = st.sampled_from(["1", "2", "1.0", "True", "None", "'a'", "b'a'", "(1, 2)", "{1, 2}"])
OPERATORS = st.sampled_from(["+", "-", "*", "==", "<", "in", "and"])
STATEMENTS = st.one_of(
    st.builds("state[{!r}] = {}".format, NAMES, CONSTANTS),
    st.builds("state[{!r}] = {} {} {}".format, NAMES, NAMES, OPERATORS, CONSTANTS),
    st.builds("{} = [one for one in state if one {} {}]".format, NAMES, OPERATORS, CONSTANTS),
    st.builds("if {} in state: {}(state)".format, CONSTANTS, NAMES),
    st.builds("state[{!r}] = lambda: {}".format, NAMES, CONSTANTS),
    st.builds("with state.{}({}) as {}: pass".format, NAMES, CONSTANTS, NAMES),
)
BODIES = st.lists(STATEMENTS, min_size=1, max_size=5)
FILLERS = st.sampled_from(["", "# a comment\n", "\n\n", "    # another = 1\n", "\n# and\n\n"])


def function(body: list[str], fillers: list[str], *, doc: bool, indent: str = "    ") -> str:
    """A step's definition with a text before each statement."""
    lines = [f'{indent}"""Some words."""\n'] if doc else []
    for statement, filler in zip(body, itertools.cycle(fillers or [""]), strict=False):
        lines += [filler, f"{indent}{statement}  # {len(filler)}\n"]
    return "def step(state):\n" + "".join(lines)


@settings(deadline=None, max_examples=60)
@given(BODIES, st.lists(FILLERS, max_size=4), FILLERS, st.booleans())
def test_comments_and_positions_do_not_count(
    body: list[str],
    fillers: list[str],
    head: str,
    doc: bool,  # noqa: FBT001
) -> None:
    """Comments, blank lines, indentation, docstrings and the place of a step change no digest."""
    plain = function(body, [], doc=False)
    other = function(body, fillers, doc=doc, indent="  ")
    assert digest(other, head=head.lstrip(" ")) == digest(plain)
    other = function(body, fillers, doc=False)
    assert digest(other, kind=CODE, head=head.lstrip(" ")) == digest(plain, kind=CODE)


@settings(deadline=None, max_examples=80)
@given(BODIES, BODIES)
def test_other_code_has_another_digest(one: list[str], other: list[str]) -> None:
    """Other constants, names and operators make another digest, unless nothing differs."""
    first, second = (function(body, [], doc=False) for body in (one, other))
    assert (digest(first) == digest(second)) == (one == other)
    code = [defined(text).__code__ for text in (first, second)]
    same = code[0].replace(co_filename="") == code[1].replace(co_filename="")
    assert (digest(first, kind=CODE) == digest(second, kind=CODE)) == same


STEP = "def step(state, n=1):\n    state['x'] = n\n"
EDITS: dict[str, str] = {
    "constant": "def step(state, n=1):\n    state['y'] = n\n",
    "name": "def step(state, n=1):\n    state['x'] = m\n",
    "default": "def step(state, n=2):\n    state['x'] = n\n",
    "more": "def step(state, n=1):\n    state['x'] = n\n    del n\n",
    "async": "async def step(state, n=1):\n    state['x'] = n\n",
    "stars": "def step(state, *n):\n    state['x'] = n\n",
    "argument": "def step(state, m=1):\n    state['x'] = m\n",
}
NO_EDITS: dict[str, str] = {
    "docstring": "def step(state, n=1):\n    'Words.'\n    state['x'] = n\n",
    "types": "def step(state: dict, n: int = 1) -> None:\n    state['x'] = n\n",
    "spaces": "def step( state ,n = 1 ):\n\n\n  state[ 'x' ]=(n)\n",
    "decorator": "@(lambda f: f)\ndef step(state, n=1):\n    state['x'] = n\n",
    "continued": "def step(\n  state,\n  n=1,\n):\n    state[\n      'x'\n    ] = (\n    n\n  )\n",
    "indented": "if True:\n    def step(state, n=1):\n        state['x'] = n\n",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", [SOURCE, CODE])
def test_edits(kind: str, edit: str) -> None:
    """Each of these edits is one, with the source and without."""
    assert digest(EDITS[edit], kind=kind) != digest(STEP, kind=kind)
    step = code_of(defined(EDITS[edit], kind=kind))
    assert step.is_edited(digest(STEP, kind=kind))


@pytest.mark.parametrize("edit", NO_EDITS)
def test_no_edits(edit: str) -> None:
    """None of these changes counts as an edit of the step."""
    assert digest(NO_EDITS[edit]) == digest(STEP)


def test_kinds_and_versions_are_not_compared() -> None:
    """A digest of another kind, of another Python or from nowhere shows no edit."""
    step = code_of(defined(STEP))
    other = digest(EDITS["name"])
    assert step.is_edited(other)
    assert not step.is_edited(step.digest)
    for recorded in ("", "s2.7-0123456789ab", "c3.99-0123456789ab", "who knows"):
        assert not step.is_edited(recorded)
    without = code_of(defined(EDITS["name"], kind=CODE))
    assert without.digest.startswith("c3.")
    assert not without.is_edited(step.digest)
    assert step.is_edited(without.digest), "the code object is there to be compared"
    assert not step.is_edited(digest(STEP, kind=CODE))


def test_source_that_is_not_what_runs_is_not_taken(tmp_path: Path) -> None:
    """A file that was edited behind its import counts for nothing: the code object does."""
    path = tmp_path / "edited_module.py"
    path.write_text(STEP, encoding="utf-8")
    module = imported(path)
    path.write_text("\n\n" + EDITS["name"], encoding="utf-8")
    old = code_of(module.step)
    assert old.digest.startswith("c3.")
    new = code_of(imported(path).step)
    assert new.digest.startswith("s3.")
    assert new.is_edited(old.digest)
    path.write_text("# moved\n" + STEP, encoding="utf-8")
    assert not code_of(imported(path).step).is_edited(old.digest)


def test_source_that_was_read_before_the_edit_still_counts(tmp_path: Path) -> None:
    """A traceback may have put the lines into the cache before the file was edited."""
    path = tmp_path / "cached_module.py"
    path.write_text(STEP, encoding="utf-8")
    module = imported(path)
    linecache.getlines(str(path))
    path.write_text(EDITS["name"], encoding="utf-8")
    assert code_of(module.step).digest == digest(STEP)


def imported(path: Path) -> Any:  # noqa: ANN401 - a module
    """Import a file anew, without compiled files."""
    spec = importlib.util.spec_from_loader(path.stem, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102
    return module


IMPORTING = """\
import os, math as m
from datetime import (
    date,
    datetime as dt,
)
if True:
    import json

def step(state):
    import re
    state["x"] = os.getpid(), m.floor(1), date.today(), dt.now(), re.compile("a"), state.get("y")
    json.dumps(state)
"""


def test_names_of_imports() -> None:
    """Python compiles calls of what its module imports in another way. The source counts."""
    assert digest(IMPORTING) == digest("# moved\n" + IMPORTING)


METHODS = """\
class Steps:
    def work(self, state):
        super().__init__()
        state["x"] = 1

    def __call__(self, state):
        state["y"] = self.work(state)

    @staticmethod
    def alone(state):
        state["z"] = 1

step = Steps()
"""


def wrapper(inner: Callable[..., None]) -> Callable[..., None]:
    """A decorator as people write it."""

    @functools.wraps(inner)
    def around(state: Any) -> None:  # noqa: ANN401
        inner(state)

    return around


def test_what_a_step_may_be() -> None:
    """Methods, callable objects, partials and decorated functions have the digest of their code."""
    steps, moved = defined(METHODS), defined("\n\n" + METHODS)
    kinds = [steps.work, steps.alone, steps, functools.partial(steps.alone)]
    again = [moved.work, moved.alone, moved, functools.partial(moved.alone)]
    found = [code_of(one).digest for one in kinds]
    assert [one[:3] for one in found] == ["s3."] * 4
    assert [code_of(one).digest for one in again] == found
    assert found[1] == found[3]
    assert len(set(found)) == 3
    bare = defined("def step(state):\n    state['x'] = 1\n")
    assert code_of(wrapper(wrapper(bare))).digest == code_of(bare).digest


def test_lambdas_count_by_their_code_objects() -> None:
    """The source of a lambda is in the midst of a statement, which may hold other things."""
    text = "step, other = lambda state: state.clear(), {}\n"
    assert code_of(defined(text.format(1))).digest == code_of(defined(text.format(2))).digest
    edited = text.replace("clear", "copy").format(1)
    assert code_of(defined(edited)).is_edited(code_of(defined(text.format(1))).digest)


def test_circle_of_wrapped_functions_ends() -> None:
    """A `__wrapped__` that leads in a circle is followed no further than a hundred times."""

    def step(state: Any) -> None:  # noqa: ANN401
        """Do nothing."""

    found = code_of(step)
    step.__wrapped__ = wrapper(step)  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    assert found.digest


def test_functions_in_c_count_by_name() -> None:
    """Built-in functions and classes have no code to look at."""
    assert code_of(print).digest == code_of(print).digest
    assert code_of(print).is_edited(code_of(repr).digest)


def test_variables_of_an_enclosing_function() -> None:
    """A closure has a source. The values of its variables do not count."""
    text = "def outer(n):\n    def step(state):\n        state['n'] = n\n    return step\n"
    one, other = (code_of(defined(text, name="outer")(n)) for n in (1, 2))
    assert one.digest == other.digest
    assert one.digest.startswith("s3.")
    assert one.is_edited(digest("def step(state):\n    state['n'] = m\n"))


def test_loader_and_saver_count() -> None:
    """An edit of a loader or saver is one of the step."""
    step, load, save = (defined(f"def step(state):\n    state['{n}'] = 1\n") for n in "abc")
    found = [
        code_of(*parts).digest
        for parts in ((step,), (step, load), (step, None, save), (step, load, save))
    ]
    assert len({*found, code_of(step, save).digest, code_of(step, None, load).digest}) == 6


def test_code_that_is_swapped_in_place_counts() -> None:
    """IPython's autoreload gives the functions of a module new code objects."""
    step, new = defined(STEP), defined(EDITS["name"])
    code = code_of(step)
    before = code.digest
    step.__code__ = new.__code__
    assert code.digest != before
    assert code.is_edited(before)


def test_sources_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that is made anew for each request has the digests of its code objects already."""
    seen: list[str] = []
    read = code_texts.source_text

    def noting(function: Any, code: Any) -> str | None:  # noqa: ANN401
        seen.append(code.co_name)
        return read(function, code)

    monkeypatch.setattr(code_digest, "source_text", noting)
    text = "def outer():\n    def step(state):\n        state['n'] = 1\n    return step\n"
    outer = defined(text, name="outer")
    assert len({code_of(outer()).digest for _ in range(3)}) == 1
    assert seen == ["step"]


def test_code_objects_are_let_go_of() -> None:
    """What is known of a code object goes with it."""
    before = len(code_digest._KNOWN)  # noqa: SLF001
    for number in range(20):
        digest(f"def step(state):\n    state['x'] = {number}\n")
    gc.collect()
    assert len(code_digest._KNOWN) <= before + 1  # noqa: SLF001


@dataclass
class Stored:
    """The part of a header that is looked at."""

    step_digests: dict[str, str]


def test_digests_of_a_run() -> None:
    """The steps before the start keep their recorded digests. The others have today's."""
    texts = {name: f"def step(state):\n    state['{name}'] = 1\n" for name in "abc"}
    steps = Steps(
        make_step(defined(text), None, None, name=name, thread=True) for name, text in texts.items()
    )
    now = {step.name: step.code.digest for step in steps}
    assert steps.digests(0, None) == now
    old: Any = Stored({"a": "s2.7-x", "c": "gone", "z": "gone"})
    assert steps.digests(2, old) == {"a": "s2.7-x", "c": now["c"]}
    edited: Any = Stored({"a": now["b"], "b": now["b"], "c": now["a"]})
    assert steps.edited(2, edited) == ("a",)
    assert steps.edited(3, edited) == ("a", "c")


def test_another_thread_parses_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython raises SystemError where two threads make trees at once. The digest is the same."""
    parse, calls = ast.parse, list[str]()

    def disturbed(source: str) -> ast.Module:
        calls.append(source)
        if len(calls) % 3:
            raise SystemError("AST constructor recursion depth mismatch")
        return parse(source)

    def function(state: dict[str, int]) -> None:
        state["disturbed"] = 1

    assert code_texts.source_text(function, function.__code__) is not None
    expected = code_texts.source_text(function, function.__code__)
    monkeypatch.setattr(ast, "parse", disturbed)
    assert code_texts.source_text(function, function.__code__) == expected
    assert len(calls) > 1
