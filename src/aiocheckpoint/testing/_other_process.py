"""Another process that uses the store of a handler, and does what it is told.

Two lines begin the conversation: the parent's `sys.path`, which the program of `_COMMAND` reads,
and `make` as dill sends it, in base64. Then each line is a command and its arguments in JSON, and
each answer is a line. What the handler prints goes to stderr.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from typing import IO, TYPE_CHECKING, Any, Self

from aiocheckpoint._snapshot.pickling.by_dill import dill
from aiocheckpoint.errors import LeaseLostError, RunInProgressError
from aiocheckpoint.testing._checking import must, not_checked, store_under

if TYPE_CHECKING:
    from types import TracebackType

    from aiocheckpoint._model.header import Status
    from aiocheckpoint.handlers import Lock, StateHandler
    from aiocheckpoint.testing._checking import Make

__all__ = ["OtherProcess", "serve"]

_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from aiocheckpoint.testing._other_process import serve; serve()"
)
_MOST_SECONDS = 60.0
"""How long an answer may take, against hanging."""


class OtherProcess:
    """A process of its own, with a handler of the store.

    Args:
        make: Makes the handler, there.

    Raises:
        SkipTest: No process can be started, or `make` cannot be sent to it.
    """

    def __init__(self, make: Make) -> None:
        sent = _dumped(make)
        if not sys.executable:
            raise not_checked("no Python interpreter is known that could be started")
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter
            (sys.executable, "-c", _COMMAND),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Its forked child ends with it.
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        with contextlib.suppress(OSError):  # It may have ended, which the missing answer says.
            self._write(json.dumps(sys.path))
            self._write(sent)
        try:
            refusal = self.receive()
        except BaseException:
            self.kill()
            raise
        if refusal is not None:
            self.kill()
            raise not_checked(f"make cannot be loaded in another process: {refusal}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._end()
        self.kill()

    def ask(self, command: str, *arguments: str) -> Any:  # noqa: ANN401 - what JSON holds
        """Give a command, and wait for the answer."""
        self.send(command, *arguments)
        return self.receive()

    def send(self, command: str, *arguments: str) -> None:
        """Give a command."""
        self._write(json.dumps([command, *arguments]))

    def receive(self) -> Any:  # noqa: ANN401 - what JSON holds
        """Wait for the answer to a command.

        Raises:
            AssertionError: The process failed, ended or hangs.
        """
        try:
            line = self._answers.get(timeout=_MOST_SECONDS)
        except queue.Empty:
            raise AssertionError(f"another process answers within {_MOST_SECONDS:g} s") from None
        must(line, "another process that uses the store does not end by itself")
        answer, error = json.loads(line)
        must(error is None, f"another process can use the store, but there: {error}")
        return answer

    def stop(self) -> None:
        """Stop it by a signal."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and its children, and wait for its end."""
        if self._process.poll() is None:  # Else another process may have its number by now.
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _end(self) -> None:
        """Let it release what it has, and end."""
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):  # It was killed.
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_MOST_SECONDS)

    def _write(self, line: str) -> None:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it is a pipe
        pipe.write(f"{line}\n")
        pipe.flush()

    def _listen(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(ValueError):  # It was closed.
            for line in pipe:
                self._answers.put(line)
        self._answers.put("")


def _dumped(make: Make) -> str:
    try:
        return base64.b64encode(dill.dumps(make, recurse=True)).decode()
    except Exception as error:  # noqa: BLE001 - whatever a pickler raises
        raise not_checked(f"make cannot be sent to another process: {error}") from None


def _loaded(sent: str) -> Make:
    make: Make = dill.loads(base64.b64decode(sent))
    return make


def serve() -> None:
    """Do what the parent says, line by line, until it closes the pipe."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            served = _Served(_loaded(sys.stdin.readline()))
        except Exception as error:  # noqa: BLE001 - whatever an import or a pickle raises
            _answer(answers, f"{type(error).__name__}: {error}")
            return
        _answer(answers, None)
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            try:
                done = getattr(served, command)(*arguments)
            except Exception:  # noqa: BLE001 - told to the parent
                _answer(answers, None, traceback.format_exc())
            else:
                _answer(answers, done)
        served.end()


def _answer(answers: IO[str], answer: object, error: str | None = None) -> None:
    answers.write(json.dumps([answer, error]) + "\n")
    answers.flush()


class _Served:
    """The commands of the other process. Each is a method, with texts as arguments."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._handler: StateHandler = make()
        self._locks: dict[str, Lock] = {}

    def reads(self, run_id: str) -> bool:
        """Whether something is stored of a run."""
        return self._handler.header(run_id) is not None

    def acquire(self, run_id: str) -> bool:
        """Take a run, if nobody has it."""
        lock = self._handler.lock(run_id)
        try:
            lock.acquire()
        except RunInProgressError:
            return False
        self._locks[run_id] = lock
        return True

    def held(self, run_id: str) -> bool:
        """Whether the lock of a run says that it is held."""
        return self._locks[run_id].held

    def store(self, run_id: str, status: Status = "running") -> bool:
        """Store a snapshot under the lock of a run, unless it was lost."""
        try:
            store_under(self._locks[run_id], self._handler, run_id, status)
        except LeaseLostError:
            return False
        return True

    def release(self, run_id: str) -> None:
        """Release a run."""
        self._locks.pop(run_id).release()

    def end(self) -> None:
        """Release all runs, and close the handler."""
        for lock in self._locks.values():
            lock.release()
        self._handler.close()

    def fork(self, run_id: str) -> dict[str, bool]:
        """Fork, and give what the child has seen of the run that this process owns."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with os.fdopen(writing, "w") as answers:
                try:
                    _answer(answers, self._forked(run_id))
                except BaseException:  # noqa: BLE001 - the child ends here in any case
                    _answer(answers, None, traceback.format_exc())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answers:
            answer, error = json.loads(answers.read())
        os.waitpid(child, 0)
        if error is not None:
            raise RuntimeError(f"in the forked child: {error}")
        seen: dict[str, bool] = answer
        return seen

    def _forked(self, run_id: str) -> dict[str, bool]:
        seen = {
            "held": self.held(run_id),
            "stored": self.store(run_id),
            "acquired": self.acquire(run_id),
            "acquired by another handler": type(self)(self._make).acquire(run_id),
            "acquired another run": self.acquire(f"{run_id} by a child"),
        }
        self.release(f"{run_id} by a child")
        self._handler.close()
        return seen
