"""Flows that are pickled: by their target, or by value, and what never travels."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
import travelling_flows
from travelling_flows import KEY, closure_flow, find_secret, local_flow, note, run_there

from aiocheckpoint import (
    CheckpointFlow,
    InvalidValueError,
    UnpicklableFlowError,
    UnserializableStateError,
    UntrustedSnapshotError,
)
from aiocheckpoint._runs.sent_flows import find_flow
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

resource_tracker.ensure_running()  # It keeps a descriptor, and no test leaves one behind.

State = dict[str, Any]


def pure_dumps(thing: object) -> bytes:
    """Pickle by the pickler that is written in Python."""
    file = io.BytesIO()
    vars(pickle)["_Pickler"](file).dump(thing)
    return file.getvalue()


PLAIN: dict[str, Callable[[object], bytes]] = {
    "pickle": pickle.dumps,
    "python": pure_dumps,
    "multiprocessing": lambda thing: bytes(ForkingPickler.dumps(thing)),
}


@pytest.mark.parametrize("dumps", [*PLAIN.values(), dill.dumps], ids=[*PLAIN, "dill"])
def test_global_of_a_module_travels_as_its_target(dumps: Callable[[object], bytes]) -> None:
    """It is the very flow where it is loaded, and its pickle has no steps."""
    sent = dumps(travelling_flows.cp)
    assert pickle.loads(sent) is travelling_flows.cp
    assert b"travelling_flows:cp" in sent
    assert b"first" not in sent


def test_copy_of_a_global_travels_by_value() -> None:
    """Only the very object travels as a target: a copy may have other steps."""
    other = copy.copy(travelling_flows.cp)
    other.add_step(name="third")(note)
    loaded = pickle.loads(pickle.dumps(other))
    assert loaded is not travelling_flows.cp
    assert repr(loaded) == repr(other)


def test_global_of_an_unfinished_import_travels_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that sends its flow while it is imported would send it again where it arrives."""
    (tmp_path / "unfinished_flow.py").write_text(
        "import pickle\n"
        "from aiocheckpoint import CheckpointFlow\n"
        "cp = CheckpointFlow('runs/')\n"
        "sent = pickle.dumps(cp)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import unfinished_flow  # type: ignore[import-not-found]  # noqa: PLC0415 - made here # pyright: ignore[reportMissingImports]

    assert b"unfinished_flow:cp" not in unfinished_flow.sent
    assert pickle.loads(pickle.dumps(unfinished_flow.cp)) is unfinished_flow.cp


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module:cp", "cannot be imported here: ModuleNotFoundError"),
        ("travelling_flows:nothing", "has no such flow here"),
        ("travelling_flows:note", "has no such flow here"),
    ],
)
def test_target_that_is_not_found(target: str, said: str) -> None:
    """A process that lacks the module, or has another release of it, says so with a remedy."""
    with pytest.raises(InvalidValueError, match=said):
        find_flow(target)


HANDLERS: dict[str, Callable[[Path], CheckpointFlow]] = {
    "file": lambda path: local_flow(path / "runs.pkl", fsync=False),
    "directory": lambda path: local_flow(f"{path}/runs/", keep=2, allow=()),
    "leases": lambda path: local_flow(f"{path}/runs/", lock="lease", lease=20),
    "sqlite": lambda path: local_flow(path / "runs.db", handler="sqlite", fsync=False),
    "sqlite URL": lambda path: local_flow(f"sqlite:///{path}/runs.db", keep="all"),
    "signed": lambda path: local_flow(f"sqlite:///{path}/runs.db", secret=find_secret),
}


@pytest.mark.parametrize("loads", [pickle.loads, dill.loads])
@pytest.mark.parametrize("name", HANDLERS)
def test_place_and_options_travel(
    name: str, loads: Callable[[bytes], CheckpointFlow], tmp_path: Path
) -> None:
    """A loaded flow has the same store, options and steps, also in the midst of a run."""
    flow = HANDLERS[name](tmp_path)
    copied, sent = copy.copy(flow), list[bytes]()
    flow.add_step(name="third")(lambda _: sent.append(dill.dumps(copied)))
    flow.run({}, run_id="here")
    there = loads(sent[0])
    assert (repr(there), repr(there.handler)) == (repr(copied), repr(flow.handler))
    assert there.handler.codec.allow == flow.handler.codec.allow
    assert there.run({}, run_id="there")["keys"][0] != flow.read("here")["keys"][0]
    assert sorted(str(one.run_id) for one in flow.runs()) == ["here", "there"]
    assert there.header("here") == flow.header("here")


def test_relative_path_is_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process may have another working directory."""
    monkeypatch.chdir(tmp_path)
    flows = [local_flow("runs/"), local_flow("sqlite:///runs.db")]
    sent = [pickle.dumps(flow) for flow in flows]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    for flow, bytes_of_it in zip(flows, sent, strict=True):
        pickle.loads(bytes_of_it).run({}, run_id="x")
        header = flow.header("x")
        assert header is not None
        assert header.finished
    assert list((tmp_path / "other").iterdir()) == []


class FileOfOneDict:
    """A user's own handler, which keeps one dict in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> State:
        """Read the dict."""
        found: State = pickle.loads(self.path.read_bytes()) if self.path.exists() else {}
        return found

    def write(self, state: State) -> None:
        """Write the dict."""
        self.path.write_bytes(pickle.dumps(state))


def test_handler_of_a_user_travels_as_it_is(tmp_path: Path) -> None:
    """A user's own class or object is pickled by its own rules."""
    flow = local_flow(tmp_path / "one.pkl", handler=FileOfOneDict)
    there = pickle.loads(pickle.dumps(flow))
    there.run({"n": 1})
    assert flow.handler.read()["n"] == 1


def test_memory_is_no_place_for_another_process() -> None:
    """The in-memory handler refuses, and names what to give in its place."""
    flow = local_flow("x", handler=MemoryStateHandler())
    for dumps in (pickle.dumps, dill.dumps):
        with pytest.raises(UnpicklableFlowError, match="memory of this process") as info:
            dumps(flow)
        assert "sqlite:///runs.db" in str(info.value)


def test_literal_secret_does_not_travel(tmp_path: Path) -> None:
    """A flow with a literal secret refuses, a global of a module too, and names the function."""
    for flow in (travelling_flows.signed, local_flow(tmp_path / "runs.db", secret=KEY)):
        for dumps in (pickle.dumps, dill.dumps):
            with pytest.raises(UnpicklableFlowError, match="secret=find_secret") as info:
                dumps(flow)
            assert KEY.decode() not in str(info.value)


def test_function_that_finds_a_secret_travels(tmp_path: Path) -> None:
    """It is called where the flow is loaded. The secret is in no pickle."""
    flow = local_flow(f"{tmp_path}/runs/", secret=find_secret)
    flow.run({}, run_id="x")
    sent = pickle.dumps(flow)
    assert KEY not in sent
    there = pickle.loads(sent)
    assert there.handler.key_ids == flow.handler.key_ids
    assert there.read("x") == flow.read("x")
    with pytest.raises(UntrustedSnapshotError):
        local_flow(f"{tmp_path}/runs/", secret=lambda: "x" * 32).read("x")


def test_function_that_finds_no_secret() -> None:
    """What it gives is checked as a secret is, and what it raises comes out."""
    with pytest.raises(TypeError, match="environment variable"):
        CheckpointFlow("runs/", secret=lambda: os.environ.get("NO_SUCH_SECRET"))  # type: ignore[arg-type, return-value] # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="32 bytes"):
        CheckpointFlow("runs/", secret=lambda: "short")
    with pytest.raises(TypeError, match="without an event loop"):
        CheckpointFlow("runs/", secret=find_later)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(ZeroDivisionError):
        CheckpointFlow("runs/", secret=lambda: str(1 // 0))


async def find_later() -> bytes:
    """Find a secret, and need a loop for it."""
    return KEY


def with_step(**options: Any) -> CheckpointFlow:  # noqa: ANN401 - as add_step
    """Make a flow with a step of these options."""
    flow = CheckpointFlow("runs/")
    flow.add_step(name="a", **options)(note)
    return flow


UNPICKLABLE: dict[str, tuple[Callable[[], CheckpointFlow], str, str | None]] = {
    "step": (lambda: closure_flow("runs/"), "and step 'first' has none", "first"),
    "loader": (lambda: with_step(load=lambda _: {}), "the loader of step 'a'", "a"),
    "saver": (lambda: with_step(save=lambda _: None), "the saver of step 'a'", "a"),
    "hook": (lambda: CheckpointFlow("runs/", hooks=[lambda _: None]), "hooks=", None),
    "migrate": (
        lambda: CheckpointFlow("runs/", version=1, migrate=lambda _, __: None),
        "migrate=",
        None,
    ),
    "secret": (lambda: CheckpointFlow("runs/", secret=lambda: KEY), "the handler", None),
}


@pytest.mark.parametrize("dumps", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("name", UNPICKLABLE)
def test_plain_pickle_needs_names(name: str, dumps: Callable[[object], bytes]) -> None:
    """The error names the step and the part, and both remedies. dill takes such a flow."""
    make, said, step = UNPICKLABLE[name]
    flow = make()
    with pytest.raises(UnpicklableFlowError, match=said) as info:
        dumps(flow)
    assert info.value.step == step
    assert "top level of a module" in str(info.value)
    assert "cloudpickle" in str(info.value)
    assert repr(dill.loads(dill.dumps(flow))) == repr(flow)


class _ByValue(pickle.Pickler):
    """A pickler of a user's own, which gives functions to dill."""

    def dump(self, obj: object) -> None:
        """Dump it by the method of a class, as cloudpickle does."""
        super().dump(obj)

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - as in pickle
        """Take functions by value."""
        if callable(obj) and getattr(obj, "__name__", "") == "closure":
            return dill.loads, (dill.dumps(obj),)
        return NotImplemented


def test_other_picklers_decide_for_themselves(tmp_path: Path) -> None:
    """A pickler that takes functions by value is not kept from it."""
    file = io.BytesIO()
    _ByValue(file).dump(closure_flow(tmp_path / "runs.pkl"))
    assert pickle.loads(file.getvalue()).run({"n": 2})["n"] == 4


class Owner:
    """An object whose methods are steps of a flow that it holds."""

    def __init__(self, place: Path) -> None:
        self.flow = CheckpointFlow(place)
        self.flow.add_step(name="a")(self.count)

    def count(self, state: State) -> None:
        """Add one."""
        state["n"] += 1


def test_flow_of_bound_methods(tmp_path: Path) -> None:
    """A step may be a method of an object that holds the flow."""
    owner = Owner(tmp_path / "runs.pkl")
    there = pickle.loads(pickle.dumps(owner))
    assert there.flow.run({"n": 1}) == {"n": 2}
    assert pickle.loads(pickle.dumps(owner.flow)).run({"n": 2}) == {"n": 3}


def test_deep_copy_has_runs_of_its_own(tmp_path: Path) -> None:
    """It has the handler of the flow, and neither its drain nor its listeners."""
    flow = local_flow(f"sqlite:///{tmp_path}/runs.db")
    other = copy.deepcopy(flow)
    flow.drain()
    assert other.handler is flow.handler
    assert len(other.run({}, run_id="x")["keys"]) == 2


def test_flow_in_a_state(tmp_path: Path) -> None:
    """A flow may be stored in a state, unless it holds a secret."""
    flow = CheckpointFlow(tmp_path / "outer.pkl")
    inner: list[CheckpointFlow] = [closure_flow(tmp_path / "inner.pkl")]
    flow.add_step(name="a")(lambda state: state.update(inner=inner[0]))
    flow.run({})
    assert flow.read()["inner"].run({"n": 4})["n"] == 8
    inner[0] = local_flow("runs/", secret=KEY)
    with pytest.raises(UnserializableStateError, match="never stored") as info:
        flow.run({})
    assert info.value.offenders[0][0].startswith('state["inner"]')


def stored(flow: CheckpointFlow, run_id: str) -> State:
    """Give the stored state of a run, and check that it has finished."""
    state = flow.read(run_id)
    assert state.pop("checkpoint_index") == 0
    return state


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_work_on_the_same_store(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of processes runs a global flow, and flows by value on two stores."""
    monkeypatch.setenv(travelling_flows.STORE, f"{tmp_path}/global/")
    local = local_flow(f"{tmp_path}/local/")
    database = local_flow(f"sqlite:///{tmp_path}/runs.db", secret=find_secret)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        states = [
            pool.submit(run_there, flow, name).result()
            for name, flow in [("a", local), ("b", database)]
        ]
        if method == "spawn":  # A forked child has the flow of its parent, with its store.
            states.append(pool.submit(run_there, travelling_flows.cp, "c").result())
            assert stored(local_flow(f"{tmp_path}/global/"), "c") == states[-1]
    assert all(state["pid"] != os.getpid() for state in states)
    assert [stored(local, "a"), stored(database, "b")] == states[:2]


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_script_sends_its_own_flow(method: str, tmp_path: Path) -> None:
    """A flow of `__main__` travels by value: each process finds its functions in the script."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script, method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.stdout == "{'n': 42} True\n", ran.stderr


SCRIPT = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow("runs.db", handler="sqlite")

@cp.add_step()
def double(state):
    state["n"] *= 2
    state["pid"] = os.getpid()

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context(sys.argv[1])) as pool:
        state = pool.submit(cp.run, {"n": 21}, run_id="x").result()
    pid = state.pop("pid")
    print(state, pid != os.getpid() and cp.read("x")["n"] == 42)
"""
