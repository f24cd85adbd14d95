"""The kernel of a deterministic simulation: one seed, a simulated clock, actors that take turns.

An actor is a thread, because the code under test is plain blocking code. One thread at a time has
the turn. It gives it away where it waits, so that nothing but the seed decides what happens next.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Actor", "Kernel", "KilledError"]

_MOST_EVENTS = 200_000


class KilledError(BaseException):
    """The process of an actor was killed. Raised where the actor waits."""


class Actor:
    """A thread that waits for its turn.

    Args:
        kernel: The kernel.
        body: What the thread does. None for the thread that runs the simulation.
        name: Its name in traces.

    Attributes:
        killed: Whether each wait raises `KilledError`.
        is_over: Whether it has ended.
    """

    def __init__(self, kernel: Kernel, name: str, body: Callable[[], None] | None = None) -> None:
        self.killed: bool = False
        self.is_over: bool = False
        self._kernel = kernel
        self._body = body
        self._turn = threading.Lock()
        self._turn.acquire()
        self._thread: threading.Thread | None = None
        if body is not None:
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self.killed and self._body is not None:
                self._body()
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by the simulation itself
            self._kernel.fail(error)
        self.is_over = True
        self._kernel.leave()

    def resume(self) -> None:
        """Give this actor the turn, behind the present event and others that go on then."""
        self._kernel.give_turn(self)

    def wait(self) -> None:
        """Wait until `resume` is called, or was called for an earlier wait.

        Raises:
            KilledError: The actor was killed.
        """
        if not self.killed:
            self._kernel.wait(self)
        if self.killed:
            raise KilledError

    def take_turn(self) -> None:
        """Block until this thread has the turn."""
        self._turn.acquire()

    def grant_turn(self) -> None:
        """Let this thread go on."""
        self._turn.release()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join()


class Kernel:
    """Events in the order of a simulated clock.

    Args:
        seed: All choices come from it.

    Attributes:
        choices: Makes the choices.
        now: Simulated seconds.
        trace: What happened, or None where nobody reads it.
    """

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.choices = random.Random(seed)  # noqa: S311 - no secret
        self.now: float = 0.0
        self.trace: list[str] | None = [] if traced else None
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._next: Actor | None = None
        self._main = Actor(self, "main")
        self._actors: list[Actor] = []
        self._failure: BaseException | None = None
        self._is_over = False

    def at(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Call a function in so many simulated seconds."""
        event = self.now + seconds, next(self._order), call, arguments
        heapq.heappush(self._events, event)

    def spawn(self, name: str, body: Callable[[], None]) -> Actor:
        """Make an actor, which begins at its first turn."""
        actor = Actor(self, name, body)
        self._actors.append(actor)
        return actor

    def say(self, *words: object) -> None:
        """Add to the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.now:8.3f}  {' '.join(map(str, words))}")

    def chance(self, probability: float) -> bool:
        """Decide."""
        return self.choices.random() < probability

    def end(self) -> None:
        """End the simulation. Called as an event."""
        self._next = self._main

    def fail(self, error: BaseException) -> None:
        """End the simulation with an error. The first one counts."""
        if self._failure is None:
            self._failure = error
            self.say("FAILURE:", error)

    def run(self) -> None:
        """Run all events, and raise the first failure.

        Raises:
            BaseException: As an actor or an event has failed.
        """
        try:
            self._pass_turn(self._main)
        finally:
            self._is_over = True
            for actor in self._actors:
                actor.killed = True
                actor.grant_turn()
                actor.join()
        if self._failure is not None:
            raise self._failure

    def give_turn(self, actor: Actor) -> None:
        """See `Actor.resume`."""
        if actor.is_over or self._next is actor:
            return
        if self._next is None:
            self._next = actor
        else:
            self.at(0.0, self.give_turn, actor)

    def wait(self, actor: Actor) -> None:
        """See `Actor.wait`."""
        self._pass_turn(actor)

    def leave(self) -> None:
        """Give the turn away for good, at the end of an actor."""
        if not self._is_over:
            self._pass_turn(None)

    def _pass_turn(self, mine: Actor | None) -> None:
        chosen = self._choose()
        if chosen is mine:
            return
        chosen.grant_turn()
        if mine is not None:
            mine.take_turn()

    def _choose(self) -> Actor:
        events = self._events
        while self._next is None and self._failure is None and events:
            self.now, number, call, arguments = heapq.heappop(events)
            if number > _MOST_EVENTS:
                self.fail(AssertionError("the simulation goes on for ever"))
            try:
                call(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self.fail(error)
        chosen, self._next = self._next, None
        return self._main if chosen is None or self._failure is not None else chosen
