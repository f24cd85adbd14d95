"""A simulated process: the library's own processor, sessions and leases, and runs that use them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from sim_connection import SimStore
from sim_kernel import KilledError
from sim_server import KEEPALIVE

from aiocheckpoint._concurrency.withdrawable_results import LeftResult, WithdrawableResult
from aiocheckpoint.handlers.leased import Release
from aiocheckpoint.handlers.leased._patience import Patience
from aiocheckpoint.handlers.leased._store_processor import StoreProcessor
from aiocheckpoint.handlers.leased._store_session import StoreSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim_kernel import Kernel
    from sim_ledger import Ledger
    from sim_server import Server

__all__ = ["LEASE", "PATIENCE", "Pending", "Process", "SimClock"]

LEASE = 1.5
PATIENCE = 2.5


class SimClock:
    """The clocks of one machine.

    Args:
        kernel: Knows the true time.
        rate: How fast both clocks are.
        skew: By how many seconds the time of day is wrong.
    """

    def __init__(self, kernel: Kernel, rate: float, skew: float) -> None:
        self.rate = rate
        self.asleep: float = 0.0
        self._kernel = kernel
        self._skew = skew

    def monotonic(self) -> float:
        """Seconds in which the machine did not sleep."""
        return (self._kernel.now - self.asleep) * self.rate + 100.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return 1.7e9 + self._skew + self._kernel.now * self.rate

    def sleep(self, seconds: float, /) -> None:
        """Nothing of what is simulated sleeps by itself."""
        raise AssertionError(seconds)


class SimResult(WithdrawableResult[Any]):
    """A pending result that tells a simulated caller of its end."""

    __slots__ = ("caller",)

    def __init__(self, request: Any) -> None:  # noqa: ANN401
        super().__init__(request, None)
        self.caller: Callable[[], object] | None = None

    def wait(self) -> Any:  # noqa: ANN401
        """Nobody blocks a thread here: callers are told."""


class SimLeftResult(LeftResult[Any]):
    """The same for a request that a caller which has to go leaves."""

    __slots__ = ("caller",)

    def __init__(self, request: Any) -> None:  # noqa: ANN401
        super().__init__(request, None)
        self.caller: Callable[[], object] | None = None

    def wait(self) -> Any:  # noqa: ANN401
        """As above."""


Pending = SimResult | SimLeftResult


class Process:
    """A process. Its writer thread is an actor.

    Args:
        kernel, server, ledger: The simulation.
        number: Its number.
        clock: Its clocks.
        store: Options of its store.

    Attributes:
        is_cut_off: Whether nothing reaches it, and nothing of it the server.
        is_frozen: Whether it is stopped, or its machine sleeps.
        is_dead: Whether it has ended.
        is_closing: Whether it is about to end in good order.
        disturbed_at: When it was last kept from its work by something other than the server.
        processor: The processor.
    """

    def __init__(
        self,
        kernel: Kernel,
        server: Server,
        ledger: Ledger,
        number: int,
        clock: SimClock,
        **store: bool,
    ) -> None:
        self.kernel = kernel
        self.server = server
        self.ledger = ledger
        self.name: str = f"process {number}"
        self.clock = clock
        self.is_cut_off: bool = False
        self.is_frozen: bool = False
        self.is_dead: bool = False
        self.disturbed_at: float = -1000.0
        self.queue: list[Pending] = []
        self._number = number
        self._owner_numbers = itertools.count(1)
        self._behind_cut: list[Callable[[], object]] = []
        self._behind_freeze: list[Callable[[], object]] = []
        self.is_closing: bool = False
        self._frozen_at = 0.0
        self._has_no_power = False
        self._lost_at = -1000.0
        self._is_idle_over = False
        self._idle_timer = object()
        self._sim_store = SimStore(self, **store)
        patience = Patience("simulated", PATIENCE, clock)
        self.processor = StoreProcessor(self._sim_store, LEASE, patience, clock)
        self.processor._open_session = self._open_session  # noqa: SLF001
        self.actor = kernel.spawn(self.name, self._serve)
        self.actor.resume()

    def _open_session(self) -> StoreSession:
        """Begin a session, whose ids come from no random source."""
        session = StoreSession(self._sim_store, LEASE, self.clock)
        number = next(self._owner_numbers)
        session._owner_id = f"owner {self._number}.{number}"  # noqa: SLF001
        session.tokens = itertools.count(self._number * 1_000_000 + number * 10_000)
        self.ledger.owners[session.owner_id] = self
        return session

    @property
    def owner_id(self) -> str:
        """As `StoreClient.owner_id`."""
        return self.processor.owner_id

    def reason_lost(self, owner_id: str) -> None:
        """As `StoreClient.reason_lost`."""

    def ask(self, request: Any, loop: None) -> Pending:  # noqa: ANN401
        """As `StoreClient.ask`."""
        kind = SimLeftResult if isinstance(request, Release) else SimResult
        pending = kind(request)
        self.queue.append(pending)
        self.resume()
        return pending

    # ------------------------------------------------------------------------ what happens to it

    def delay(self) -> float:
        """Seconds that a message travels."""
        return 0.0005 + self.kernel.choices.random() * 0.002

    def note_delay(self, seconds: float) -> None:
        """A message travels for so long."""
        if seconds > 0.1:
            self.disturbed_at = self.kernel.now + seconds

    def note_loss(self) -> None:
        """A connection is lost. If it was made just now, the next try comes later."""
        now = self.kernel.now
        if now - self._lost_at < 2.0:
            self.disturbed_at = max(self.disturbed_at, now + 1.0)
        self._lost_at = now

    def when_reached(self, call: Callable[[], object]) -> bool:
        """Call a function once the process is cut off no more. False if it is not cut off."""
        if self.is_cut_off:
            self._behind_cut.append(call)
        return self.is_cut_off

    def cut_off(self, seconds: float) -> None:
        """Let no message through for so long. Those under way arrive late."""
        if self.is_cut_off or self.is_dead:
            return
        self.kernel.say(self.name, "is cut off")
        self.is_cut_off = True
        self.disturbed_at = self.kernel.now + seconds
        self._end_sessions_in(KEEPALIVE)
        self.kernel.at(seconds, self._reach)

    def _end_sessions_in(self, seconds: float) -> None:
        for session in list(self.server.sessions.values()):
            if session.client is self:
                self.kernel.at(seconds, self._end_silent, session)

    def _end_silent(self, session: Any) -> None:  # noqa: ANN401
        if self.is_cut_off:
            self.server.end_session(session)

    def _reach(self) -> None:
        if self.is_cut_off and not self._has_no_power:
            self.kernel.say(self.name, "is reached again")
            self.is_cut_off = False
            calls, self._behind_cut = self._behind_cut, []
            for call in calls:
                self.kernel.at(self.kernel.choices.random() * 0.5, call)

    def freeze(self, seconds: float, *, sleeps: bool) -> None:
        """Stop the process by a signal, or let its machine sleep, for so long."""
        if self.is_frozen or self.is_dead:
            return
        self.kernel.say(self.name, "sleeps" if sleeps else "is stopped")
        self.is_frozen = True
        self.disturbed_at = self.kernel.now + seconds
        self._frozen_at = self.kernel.now
        self.kernel.at(seconds, lambda: self._thaw(sleeps=sleeps))

    def _thaw(self, *, sleeps: bool) -> None:
        if not self.is_frozen or self.is_dead:
            return
        self.kernel.say(self.name, "goes on")
        self.is_frozen = False
        if sleeps:
            self.clock.asleep += self.kernel.now - self._frozen_at
        calls, self._behind_freeze = self._behind_freeze, []
        for call in calls:
            self.kernel.at(0.0, call)
        self.resume()

    def when_awake(self, call: Callable[[], object]) -> None:
        """Call a function of this process, now or when it goes on. Not once it is dead."""
        if self.is_frozen:
            self._behind_freeze.append(call)
        elif not self.is_dead:
            call()

    def recover(self) -> None:
        """Let all that hangs go on."""
        self._reach()
        self._thaw(sleeps=False)

    def kill(self, *, power: bool = False) -> None:
        """Kill it. Without power, its connections are not even closed."""
        if self.is_dead:
            return
        self.kernel.say(self.name, "loses its power" if power else "is killed")
        self.is_dead = True
        self.actor.killed = True
        self.actor.resume()
        if power:
            self.is_cut_off = self._has_no_power = True
            self._end_sessions_in(KEEPALIVE)
        else:
            for session in list(self.server.sessions.values()):
                if session.client is self:
                    self.server.leave(session)

    def close(self) -> None:
        """End in good order: release everything."""
        self.kernel.say(self.name, "closes")
        self.is_closing = True
        self.resume()

    def resume(self) -> None:
        """Let the writer thread look for what has changed."""
        if not self.is_frozen and not self.is_dead:
            self.actor.resume()

    # ------------------------------------------------------------------------ the writer thread

    def check_alive(self) -> None:
        """Raise `KilledError` in the writer thread of a killed process."""
        if self.actor.killed:
            raise KilledError

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait in the writer thread."""
        while not condition() or self.is_frozen:
            self.actor.wait()

    def sleep(self, seconds: float) -> None:
        """Let the writer thread wait for so long."""
        until = self.kernel.now + seconds
        self.kernel.at(seconds, self.resume)
        self.wait_until(lambda: self.kernel.now >= until)

    def _serve(self) -> None:
        group: list[Pending] = []
        while group or not self.is_closing or self.queue:
            if not group:
                self._wait_for_requests()
            group += self.queue
            self.queue.clear()
            again = self.processor.apply(group) if group else None
            left = [] if again is None else cast("list[Pending]", again.requests)
            self._deliver(group, left)
            group = left
            if again is not None:
                self._wait_for_more(again.seconds)
        self.processor.close()
        self.is_dead = True

    def _deliver(self, group: list[Pending], left: list[Pending]) -> None:
        for pending in group:
            if pending not in left:
                pending.wake()
                if pending.caller is not None:
                    self.kernel.at(0.0, self.when_awake, pending.caller)

    def _wait_for_more(self, seconds: float) -> None:
        until = self.clock.monotonic() + seconds
        while not self.queue and (left := until - self.clock.monotonic()) > 1e-9:
            over = self.kernel.now + left / self.clock.rate
            self.kernel.at(left / self.clock.rate, self.resume)
            self.wait_until(lambda: bool(self.queue) or self.kernel.now >= over)  # noqa: B023

    def _wait_for_requests(self) -> None:
        """Wait for a request. Do meanwhile what is due without one."""
        while not self.queue and not self.is_closing:
            self._is_idle_over = False
            self._set_idle_timer()
            self.wait_until(lambda: bool(self.queue) or self.is_closing or self._is_idle_over)
            if not self.queue and not self.is_closing:
                self.processor.on_idle()

    def _set_idle_timer(self) -> None:
        seconds = self.processor.idle_timeout()
        if seconds is not None:
            self._idle_timer = timer = object()
            self.kernel.at(seconds / self.clock.rate, self._end_idle, timer)

    def _end_idle(self, timer: object) -> None:
        """The time without requests is over. The thread need not run if nothing is due."""
        if timer is not self._idle_timer or self.is_dead:
            return
        if self.processor.needs_work:
            self._is_idle_over = True
            self.resume()
        else:
            self._set_idle_timer()
