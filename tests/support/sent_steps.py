"""Steps that are sent to executors, whose workers import this module."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, Pause, Terminate, current_step

if TYPE_CHECKING:
    from support import State

__all__ = [
    "Stubborn",
    "await_nothing",
    "charge",
    "die",
    "die_before_child",
    "die_behind_cursor",
    "die_in_the_end",
    "hang_once",
    "hold_interpreter",
    "interrupt",
    "leave_lock",
    "leave_no_return",
    "load_rows",
    "load_rows_wrongly",
    "look_up",
    "pause",
    "raise_stubborn",
    "raise_with_note",
    "run_flow_within",
    "save_rows",
    "sleep_in_load",
    "take_connection",
    "tell_progress",
    "terminate",
    "use_rows",
    "wait_for_file",
]


def charge(state: State) -> None:
    """Note the key, attempt and process of the step, and one charge under the key."""
    step = current_step()
    state.setdefault("keys", {})[step.step] = step.idempotency_key
    state["attempt"], state["process"] = step.attempt, os.getpid()
    if "folder" in state:
        with (Path(state["folder"]) / step.idempotency_key).open("a", encoding="utf-8") as file:
            file.write("charged\n")
    time.sleep(state.get("seconds", 0.0))


def load_rows(state: State) -> dict[str, Any]:
    """Load rows, and count the calls."""
    state["loads"] = state.get("loads", 0) + 1
    return {"rows": list(range(state["n"]))}


def load_rows_wrongly(state: State) -> list[int]:
    """Return what no loader returns."""
    return [state["n"]]


def run_flow_within(state: State) -> None:
    """Run a flow whose step is sent to a thread, and then hang."""
    with ThreadPoolExecutor(1) as pool:
        cp = CheckpointFlow(state["place"])
        cp.add_step(executor=pool)(charge)
        cp.run({})
    time.sleep(60.0)


def use_rows(state: State, data: dict[str, Any]) -> str:
    """Add the rows up, and leave something in `data`."""
    state["sum"] = sum(data["rows"])
    state["data"] = sorted(data)
    data["left"] = "behind"
    return "ignored"


def save_rows(state: State, data: dict[str, Any]) -> None:
    """Save by what the step has left, or fail as often as the state says."""
    state["saves"] = state.get("saves", 0) + 1
    step = current_step()
    if step.attempt <= state.get("failures", 0):
        raise OSError(f"attempt {step.attempt}")
    state["saved"] = f"{data['left']} {step.attempt}"


def look_up(state: State, data: dict[str, Any]) -> None:
    """Look up what nobody has loaded."""
    state["sum"] = data["rows"]


def _is_first(state: State) -> bool:
    """Whether it is the first time of a run, also where its process has died since."""
    mark = Path(state["mark"])
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def die(state: State) -> None:
    """Be killed, once or each time, behind a note in `tries` where there is such a file."""
    if "tries" in state:
        with Path(state["tries"]).open("a", encoding="utf-8") as file:
            file.write("tried\n")
    if state.get("always") or _is_first(state):
        os.kill(os.getpid(), signal.SIGKILL)
    charge(state)


def die_in_the_end(state: State) -> None:
    """Wait for the file, and be killed."""
    wait_for_file(state)
    die(state)


def die_before_child(state: State) -> None:
    """Be killed, once, and leave a child that lives until the file is there, and notes its end."""
    if _is_first(state):
        if not os.fork():
            try:
                wait_for_file(state)
            finally:
                Path(state["left"]).touch()
                os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    charge(state)


def die_behind_cursor(state: State) -> None:
    """Tell a cursor, be killed a moment later, and go on from the cursor."""
    step = current_step()
    if _is_first(state):
        step.progress(3, 10, "pages", cursor={"page": 3})
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    state["cursor"] = step.cursor


def tell_progress(state: State) -> None:
    """Say how far it is, and wait until the file is there that the run makes when it has heard."""
    step = current_step()
    step.progress(1, 2, "halves", cursor={"half": 1})
    wait_for_file(state)
    step.progress(2, 2, cursor={"half": 2})
    state["cursor"] = step.cursor


def wait_for_file(state: State) -> None:
    """Note that it has begun, and wait for the file that ends it."""
    if "begun" in state:
        Path(state["begun"]).touch()
    deadline = time.monotonic() + 60.0
    while not Path(state["file"]).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    state["waited"] = True


def hang_once(state: State) -> None:
    """Note the process and take far too long, the first time."""
    if _is_first(state):
        Path(state["hung"]).write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(60.0)
    charge(state)


def sleep_in_load(state: State) -> dict[str, Any]:
    """Take far too long, if the state says so."""
    time.sleep(60.0 if state.get("hangs") else 0.0)
    return {}


def hold_interpreter(state: State) -> None:
    """Hold the interpreter until a file is there, as a call of C does that never lets it go."""
    wait = "n=0; until test -e '{file}' || test $n = 600; do sleep 0.1; n=$((n+1)); done"
    command = "touch '{begun}'; " + wait + "; test -e '{file}'"
    state["held"] = ctypes.PyDLL(None).system(command.format(**state).encode())


class Stubborn(Exception):  # noqa: N818
    """An exception that pickle writes and cannot load."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_stubborn(state: State) -> None:
    """Raise what cannot be sent back."""
    raise Stubborn(1, state["n"])


def raise_with_note(state: State) -> None:
    """Raise an exception with a note, and change the state before."""
    state["changed"] = True
    error = LookupError("no such row")
    error.add_note("look into the table")
    raise error


def interrupt(_: State) -> None:
    """Raise what is no `Exception`."""
    raise KeyboardInterrupt


def pause(state: State) -> None:
    """Pause the run until there is an answer."""
    if "answer" not in state:
        state["changed"] = True
        raise Pause("needs an answer")


def terminate(_: State) -> None:
    """End the run for good."""
    raise Terminate("declined")


def leave_lock(state: State) -> None:
    """Leave something in the state that no snapshot holds."""
    import threading  # noqa: PLC0415

    state["lock"] = {"inner": threading.Lock()}


class _OnlyThere:
    """Loads in the process that made it alone."""

    def __init__(self, process: int) -> None:
        if process != os.getpid():
            raise RuntimeError("made elsewhere")

    def __reduce__(self) -> tuple[Any, ...]:
        return _OnlyThere, (os.getpid(),)


def leave_no_return(state: State) -> None:
    """Leave something in the state that loads in this process alone."""
    state["conn"] = _OnlyThere(os.getpid())


def take_connection(_: State) -> None:
    """Ask for the connection of the snapshot."""
    current_step().connection()


async def _nothing() -> None:
    """Do nothing."""


def await_nothing(_: State) -> object:
    """Return what is to be awaited."""
    return _nothing()
