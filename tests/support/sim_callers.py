"""Callers in a simulated process: they claim runs, store their steps, end or leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sim_ledger import Written

from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._model.header import Header
from aiocheckpoint.errors import LeaseLostError, RunInProgressError, StoreUnreachableError
from aiocheckpoint.handlers.leased._lease import Lease
from aiocheckpoint.handlers.leased._requests import Execute

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sim_process import Pending, Process

    Work = Generator[Pending | float, None, None]

__all__ = ["STEPS", "Caller", "sweep"]

STEPS = 3
_BASE = Header(flow="flow", position=0, started_at=1.0).__dict__


class _Place(NamedTuple):
    """Where a run is, as its snapshots tell it.

    Attributes:
        number, sequence, position, status: As in the header.
    """

    number: int = 1
    sequence: int = 1
    position: int = 0
    status: str = "running"

    @classmethod
    def of(cls, footer: bytes) -> _Place:
        """Read what `footer` has made."""
        _, number, sequence, position, status = footer.decode().split("/")
        return cls(int(number), int(sequence), int(position), status)

    def footer(self, name: str) -> bytes:
        """Make the footer of the snapshot of a caller."""
        return f"{name}/{self.number}/{self.sequence}/{self.position}/{self.status}".encode()

    def header(self, now: float) -> Header:
        """Make its header."""
        return Header.from_trusted({**_BASE, **self._asdict(), "written_at": now})


class Caller:
    """One caller that runs a run.

    Args:
        process: Its process.
        key: The run.
        name: Its name.

    Attributes:
        is_over: Whether it has ended.
    """

    def __init__(self, process: Process, key: tuple[str, str], name: str) -> None:
        self.process = process
        self.name = name
        self.is_over: bool = False
        self._key = key
        self._is_cancelled = False
        self._is_claiming = False
        self._asked_at = 0.0
        self._lease = Lease(cast("Any", process), key, "the run", 1)
        self._pending: Pending | None = None
        self._work: Work = self._run()
        process.when_awake(self._go_on)

    # ------------------------------------------------------------------------- how it has its turns

    def _go_on(self) -> None:
        if self.is_over:
            return
        kernel, when_awake = self.process.kernel, self.process.when_awake
        wanted = next(self._work, None)
        self._pending = None
        if wanted is None:
            self.is_over = True
        elif isinstance(wanted, int | float):
            kernel.at(wanted, when_awake, self._go_on)
        elif wanted.ended:
            kernel.at(0.0, when_awake, self._go_on)
        else:
            self._pending = wanted
            wanted.caller = self._go_on

    def cancel(self) -> None:
        """Cancel the caller. It withdraws what was not sent, and waits for what was.

        A claim is sometimes left. The lease is released then as soon as it is there.
        """
        process, pending = self.process, self._pending
        if self.is_over or self._is_cancelled or process.is_dead or process.is_frozen:
            return
        self._is_cancelled = True
        if pending is None:
            return
        if pending.withdraw():
            process.kernel.say(process.name, self.name, "withdraws its request")
            pending.caller = None
            process.kernel.at(0.0, process.when_awake, self._go_on)
        elif self._is_claiming and process.kernel.chance(0.3):
            process.kernel.say(process.name, self.name, "waits no longer")
            pending.caller = None
            self._lease.release()
            self.is_over = True

    # -------------------------------------------------------------------------------- what it does

    def _run(self) -> Work:
        choices, record = self.process.kernel.choices, self._lease.record
        first = None
        if choices.random() < 0.7:
            first = self._snapshot(_Place(), token=0)
        self._is_claiming = True
        self._asked_at = self.process.kernel.now
        pending = self._lease.claim(None, first, runs=True)
        yield cast("Pending", pending)
        self._is_claiming = False
        if not self._has_claimed(cast("Pending", pending)):
            return
        place = _Place(sequence=0, status="queued")
        if record.inserted or record.footer:
            place = _Place() if record.inserted else _Place.of(record.footer or b"")
        if choices.random() < 0.1:  # As a run of changed steps is.
            record.is_refused = True
        elif not self._is_cancelled:
            yield from self._steps(place)
        if self._lease.held:
            yield from self._release()

    def _has_claimed(self, pending: Pending) -> bool:
        process = self.process
        if not pending.ended:
            self._lease.release()
            return False
        if pending.error is not None:
            self._note(pending.error)
            return False
        process.kernel.say(process.name, self.name, "has claimed", self._key[1])
        process.ledger.told_claimed(self._key, self._lease.record.token)
        return True

    def _steps(self, found: _Place) -> Work:
        """Store that the run is running, if it does not yet, each step, and the end."""
        choices, place = self.process.kernel.choices, found
        if found.status == "finished":
            place = found._replace(number=found.number + 1, position=0)
        now: _Place | None = place
        if found.status != "running" or self._lease.record.running is None:
            now = yield from self._save(place, "running", place.position)
        while now is not None and not self._is_cancelled:
            yield choices.random() * choices.choice((0.01, 0.2, 1.0))
            if now.position == STEPS:
                yield from self._save(now, "finished", 0)
                return
            now = yield from self._save(now, "running", now.position + 1)
        if now is not None:
            yield from self._save(now, "cancelled", now.position)

    def _save(
        self, place: _Place, status: str, position: int
    ) -> Generator[Pending | float, None, _Place | None]:
        """Store the next snapshot. None if that fails."""
        if not self._lease.held:
            return None
        process, token = self.process, self._lease.record.token
        new = _Place(place.number, place.sequence + 1, position, status)
        header, payload, footer = self._snapshot(new, token)
        self._asked_at = process.kernel.now
        pending = self._lease.save(header, payload, footer, None)
        yield cast("Pending", pending)
        if not pending.ended:  # It was withdrawn. The run ends where it is.
            return None
        if pending.error is not None:
            self._note(pending.error, token, footer)
            return None
        process.kernel.say(process.name, self.name, "has stored", footer.decode())
        process.ledger.acknowledged(self._key, footer)
        return new

    def _release(self) -> Work:
        queue = self.process.queue
        before = len(queue)
        self._lease.release()
        if len(queue) > before:
            yield queue[-1]

    def _note(self, error: BaseException, token: int = 0, footer: bytes = b"") -> None:
        """Note an error, which has to be one of those that users are told of."""
        process, counts = self.process, self.process.ledger.counts
        process.kernel.say(process.name, self.name, "is told:", type(error).__name__)
        if isinstance(error, LeaseLostError):
            process.ledger.told_lost(self._key, token, footer)
        elif isinstance(error, RunInProgressError):
            counts.refused += 1
        elif isinstance(error, StoreUnreachableError):
            process.ledger.told_unreachable(self._asked_at)
        elif not (isinstance(error, StalledError) and self._is_cancelled):
            raise error

    def _snapshot(self, place: _Place, token: int) -> tuple[Header, bytes, bytes]:
        footer = place.footer(self.name)
        self.process.ledger.written[footer] = Written(token, place.sequence)
        return place.header(self.process.clock.time()), b"", footer


def sweep(process: Process) -> None:
    """Free the runs of dead owners, as recovery does: by two looks if one is not enough."""

    def look(then: Callable[[float], object] | None) -> None:
        pending = process.ask(Execute(process.processor.expire_dead), None)

        def answered() -> None:
            if then is not None and pending.error is None and pending.result is not None:
                then(pending.result)

        pending.caller = answered

    def again(seconds: float) -> None:
        process.kernel.at(seconds, process.when_awake, lambda: look(None))

    process.when_awake(lambda: look(again))
