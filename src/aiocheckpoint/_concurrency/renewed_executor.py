"""An executor that a user gives, or that a function of the user makes, anew when it broke."""

from __future__ import annotations

import threading
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency import forks
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import ExecutorError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

__all__ = ["RenewedExecutor", "gives_executor", "may_be_executor", "tells_begin"]

_OF_FUTURES = ("add_done_callback", "cancel", "cancelled", "done", "result")


def gives_executor(given: object) -> bool:
    """Whether it is a function or class that makes executors, and no executor itself."""
    return isinstance(given, type) or not callable(getattr(given, "submit", None))


def may_be_executor(given: object) -> bool:
    """Whether it is an executor, or may be a function that makes one."""
    return callable(given) or not gives_executor(given)


def tells_begin(executor: Executor) -> bool:
    """Whether its futures tell that their calls have begun.

    Those of Dask are pending until they end, and a cancelled call runs on there.
    """
    return not type(executor).__module__.startswith("distributed.")


class RenewedExecutor:
    """An executor that was given, or one that a function makes. Any thread may use it.

    Args:
        given: The executor or the function.

    Attributes:
        renews: Whether a broken executor is made anew.
    """

    def __init__(self, given: Executor | Callable[[], Executor]) -> None:
        self.renews: bool = gives_executor(given)
        self._make: Any = given if self.renews else None
        executor: Any = None if self.renews else given
        self._executor: Executor | None = executor
        self._process: object = forks.process
        self._lock = threading.Lock()

    @property
    def current(self) -> Executor | None:
        """The executor, if there is one. It may be that of the parent of this process."""
        return self._executor

    def take(self) -> Executor:
        """Give the executor, made now if there is none.

        Raises:
            ExecutorError: It belongs to the parent of this forked process.
            InvalidTypeError: The function has returned something else.
            BaseException: The function raised it.
        """
        if self._process is not forks.process:
            if not self.renews:
                raise ExecutorError(
                    None,
                    "it belongs to the parent of this forked process. Give executor= a function "
                    "that makes one",
                )
            self._executor, self._process, self._lock = None, forks.process, threading.Lock()
        with self._lock:
            if self._executor is None:
                self._executor = self.made()
            return self._executor

    def submit(
        self, executor: Executor, function: Callable[..., Any], argument: object
    ) -> Future[Any]:
        """Submit a call to an executor.

        Args:
            executor: What `take` or `made` has given.
            function: The function to call there.
            argument: Its argument.

        Raises:
            ExecutorError: It takes no calls any more, or gives no futures.
            BaseException: The executor raised it, as a broken one does.
        """
        try:
            future: Any = executor.submit(function, argument)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise ExecutorError(None, str(error) or "it takes no calls") from error
        if not all(callable(getattr(future, name, None)) for name in _OF_FUTURES):
            raise ExecutorError(
                None,
                f"its submit() gives a {type(future).__name__}, and no future of "
                "concurrent.futures",
            )
        checked: Future[Any] = future
        if not tells_begin(executor):
            # Imported here because most executors are pools of this machine.
            from aiocheckpoint._concurrency.closed_engines import (  # noqa: PLC0415
                fail_when_closed,
            )

            fail_when_closed(executor, checked)
        return checked

    @calls_user_code
    def made(self) -> Executor:
        """Let the function make an executor."""
        made: Any = self._make()
        if not callable(getattr(made, "submit", None)):
            raise InvalidTypeError(
                f"the function given as executor= returned a {type(made).__name__}, and is to "
                "make an executor of concurrent.futures."
            )
        executor: Executor = made
        return executor

    def drop(self, executor: Executor) -> None:
        """Let the next use make another one in place of a broken one."""
        with self._lock:
            if self._executor is not executor or not self.renews:
                return  # Another call has done so.
            self._executor = None
        executor.shutdown(wait=False)

    def close(self, *, wait: bool) -> None:
        """Shut down what the function has made last. The next use makes it anew.

        Args:
            wait: Whether to wait for its calls.
        """
        if not self.renews or self._process is not forks.process:
            return
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=wait)
