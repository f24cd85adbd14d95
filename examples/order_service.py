"""A service that takes orders, may be killed at any moment, and does each order once.

Start it and its payment service, place an order, and read its status:

    pip install 'aiocheckpoint[examples]'
    python examples/payment_service.py shop 8001 &
    python examples/order_service.py shop 8000 8001 &
    curl --json '{"id": "order-1", "item": "lamp", "quantity": 2}' localhost:8000/orders
    curl localhost:8000/orders/order-1

After `kill -9`, as often as you like, another process or the next start resumes every unfinished
order. At a plain `kill`, each order stops behind its current step, and its client gets an answer
that says so.

A request that comes again gets the stored result, 200. An order that waits, for an approval or for
stock, gets 202. Another order under the same id is refused with 409, and an id that does not exist
with 404. An order that has ended for good gets 410: its item is sold no more, or somebody has sent
a `{"reason": ...}` to `POST /orders/order-1/terminate`. In two processes on one port:

    uvicorn --app-dir examples --factory order_service:create_app --port 8000 --workers 2

The runs are in the folder, in SQLite. With `--store postgresql://shop@db.example/shop`, or STORE in
the environment of uvicorn, they are in PostgreSQL, and each process on any host takes the orders of
one that was killed. That needs the extra "postgres" as well. Nothing else changes.
"""

import argparse
import asyncio
import json
import os
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import anyio
import fastapi
import httpx
import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from order_effects import (
    PRICES,
    NoLongerSoldError,
    OutOfStockError,
    ask_for_payment,
    open_stock,
    take_from_stock,
    write_invoice,
)
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    FlowVersionError,
    InvalidValueError,
    Pause,
    Retry,
    RunInProgressError,
    RunNotFoundError,
    RunTerminatedError,
    StateConflictError,
    StepTimeoutError,
    Stream,
    Terminate,
    Watch,
    current_step,
    events,
)

State = dict[str, Any]  # the known facts of one order, stored after every step
Source = Stream[events.Event] | Watch
RELEASE = 1  # of the steps: raised when they change, so that old processes leave new orders alone
NEEDS_APPROVAL = 500_000  # an order of more cents waits for an approval
PATIENCE = 30.0  # seconds that a request waits for another of the same order
AT_ONCE = 50  # orders that the worker does side by side
PAYMENTS_AT_ONCE = 20  # of all orders of a process
DRAIN_SECONDS, CLOSE_SECONDS = 20.0, 5  # together less than the 30 that most supervisors grant
ID = "^[a-z0-9-]{1,64}$"
OrderId = Annotated[str, fastapi.Path(pattern=ID)]
Name = Annotated[str, Body(embed=True, min_length=1, max_length=100)]


class Order(BaseModel):
    """An order. Its id is the client's, so that a request can be repeated.

    The state of its run begins with these facts, and no step changes them.
    """

    id: str = Field(pattern=ID)
    item: str = Field(pattern=f"^({'|'.join(PRICES)})$")
    quantity: int = Field(gt=0, le=1_000)


def make_flow(folder: Path, client: httpx.AsyncClient, store: str | None = None) -> CheckpointFlow:
    """Make the flow. Each order is a run of it."""
    store = store or f"sqlite:///{folder}/orders.db"
    cp = CheckpointFlow(store, name="orders", conflict="raise", version=RELEASE)

    @cp.add_step()
    def reserve(state: State) -> None:  # sync, so it runs in a thread and never stalls the loop
        try:
            take_from_stock(folder, current_step().idempotency_key, state)
        except NoLongerSoldError as error:
            raise Terminate(f"no {error} is sold any more") from None
        state["cents"] = PRICES[state["item"]] * state["quantity"]

    @cp.add_step()
    async def approve(state: State) -> None:
        if state["cents"] > NEEDS_APPROVAL and "approved_by" not in state:
            raise Pause("waiting for approval")

    patiently = Retry(on=(httpx.TransportError, StepTimeoutError), attempts=20, wait_max=2.0)
    few = anyio.CapacityLimiter(PAYMENTS_AT_ONCE)  # to wait for it is no part of the timeout

    @cp.add_step(retry=patiently, timeout=2.0, limiter=few)
    async def charge(state: State) -> None:
        state["receipt"] = await ask_for_payment(client, current_step().idempotency_key, state)

    @cp.add_step()
    def invoice(state: State) -> None:
        state["invoice"] = f"{state['id']}-{current_step().idempotency_key[:16]}.json"
        write_invoice(folder / "invoices" / state["invoice"], state)

    return cp


class OrderService:
    """The routes, with their shared flow, client and tasks."""

    def __init__(self, folder: Path, payments: str, store: str | None = None) -> None:
        (folder / "invoices").mkdir(parents=True, exist_ok=True)
        open_stock(folder)
        self._client = httpx.AsyncClient(base_url=payments)
        self._tasks: set[asyncio.Task[State]] = set()
        self.cp = make_flow(folder, self._client, store)

    async def place(self, order: Order, request: Request) -> Response:
        """Do an order once, however often it is requested, and answer when it is done.

        A client that accepts text/event-stream follows the run. If it leaves, the run stops, and
        the worker takes it later. If any other client leaves, the order continues. The id of
        another order is refused.
        """
        state = order.model_dump()
        if "text/event-stream" in request.headers.get("accept", ""):
            check_same(order, await self.cp.aread(order.id) or state)  # before the answer begins
            run = self.cp.astream(state, run_id=order.id, once=True, wait=PATIENCE)
            return self._stream(order.id, run)
        return await self._answer(
            order.id, self.cp.arun(state, run_id=order.id, once=True, wait=PATIENCE)
        )

    async def approve(self, order_id: OrderId, by: Name) -> Response:
        """Approve an order that waits for it, and resume its run."""
        await self._show(order_id)  # 404 at once: an early answer waits, also for an unknown run
        run = self.cp.aresume(order_id, {"approved_by": by}, wait=PATIENCE)
        return await self._answer(order_id, run)

    async def terminate(self, order_id: OrderId, reason: Name) -> Response:
        """End an order for good, in whatever process it is. What its steps have done stays done."""
        with refusals():
            ended = await self.cp.aterminate(order_id, reason, wait=PATIENCE)
        return JSONResponse(await self._show(order_id), 200 if ended else 202)

    async def look(self, order_id: OrderId) -> Response:
        """Answer with the status of an order."""
        return JSONResponse(await self._show(order_id))

    async def watch(self, order_id: OrderId) -> Response:
        """Stream the progress of an order until it ends. A watcher may leave at any time."""
        await self._show(order_id)
        return self._stream(order_id, self.cp.watch(order_id, until_end=True))

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncGenerator[None, None]:
        """Do what other processes have left, and what is due. At the end drain, and cancel."""
        async with self.cp:
            working = asyncio.create_task(self._work())
            yield
            await self.cp.adrain(timeout=DRAIN_SECONDS)  # `Server` may have done so before.
            tasks: list[asyncio.Task[Any]] = [working, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _work(self) -> None:
        async for result in self.cp.awork(limit=AT_ONCE):  # until the flow is drained
            print(f"resumed {result.run_id}: {result.status or repr(result.error)}")

    async def _answer(self, order_id: str, run: Coroutine[Any, Any, State]) -> Response:
        """Wait for a run in its own task, which outlives the client, and answer with its end."""
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        state: State | None = None
        try:
            with refusals():
                state = await asyncio.shield(task)
        except RunInProgressError:
            pass  # another process runs it, and has not finished
        except OutOfStockError:
            pass  # it waits: the worker tries it again
        except DrainingError as error:
            if error.path is None:  # refused; otherwise it was stopped behind a step
                raise HTTPException(503, "closing", {"Retry-After": "1"}) from error
        found = await self._show(order_id, state)
        return JSONResponse(found, 200 if found["status"] == "finished" else 202)

    async def _show(self, order_id: str, state: State | None = None) -> dict[str, Any]:
        header = await self.cp.aheader(order_id)
        if header is None:
            raise HTTPException(404, "no such order")
        if state is None:
            state = await self.cp.aread(order_id)
        names = (*Order.model_fields, "cents", "approved_by", "receipt", "invoice")
        order = {name: state[name] for name in names if name in state}
        stands = {"status": header.status, "step": header.next_step, "waits_for": header.pause}
        ended = {"ended_because": header.termination}
        return {**stands, **ended, "attempts": header.attempts, "order": order}

    def _stream(self, order_id: str, source: Source) -> Response:
        lines = self._lines(order_id, source)
        close = BackgroundTask(lines.aclose)  # for a client that leaves during a line
        return StreamingResponse(lines, media_type="text/event-stream", background=close)

    async def _lines(self, order_id: str, source: Source) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(source):
                async for event in source:
                    yield as_line(type(event).__name__, public(event))
        except Exception as error:  # noqa: BLE001 - the answer has already begun
            yield as_line("Error", {"type": type(error).__name__})
        yield as_line("Order", await self._show(order_id))


@contextmanager
def refusals() -> Generator[None, None, None]:
    """Give the errors of a run their HTTP status."""
    try:
        yield
    except RunNotFoundError as error:
        raise HTTPException(404, "no such order") from error
    except RunTerminatedError as error:
        raise HTTPException(410, error.reason) from error
    except StateConflictError as error:
        raise HTTPException(409, "another order has this id") from error
    except InvalidValueError as error:  # an answer to no pause, an end for a finished order
        raise HTTPException(409, type(error).__name__) from error
    except FlowVersionError as error:
        raise HTTPException(503, "a newer release does it", {"Retry-After": "1"}) from error
    except (httpx.HTTPError, StepTimeoutError) as error:
        raise HTTPException(503, "no payment", {"Retry-After": "5"}) from error


def check_same(order: Order, stored: State) -> None:
    """Refuse the order of a client if another one is stored under its id."""
    if any(stored.get(name) != fact for name, fact in order.model_dump().items()):
        raise HTTPException(409, "another order has this id")


def public(event: events.Event) -> dict[str, Any]:
    """Pick the attributes of an event that clients may see. Its exception is not among them."""
    names = ("step", "index", "of", "attempt", "position", "status", "reason", "count")
    return {name: getattr(event, name) for name in names if hasattr(event, name)}


def as_line(kind: str, facts: dict[str, Any]) -> str:
    """Format one server-sent event."""
    return f"data: {json.dumps({'kind': kind, **facts})}\n\n"


def make_app(service: OrderService) -> FastAPI:
    """Make the application with its routes."""
    app = FastAPI(title="orders", lifespan=service.lifespan)
    app.post("/orders")(service.place)
    app.get("/orders/{order_id}")(service.look)
    app.get("/orders/{order_id}/events")(service.watch)
    app.post("/orders/{order_id}/approve")(service.approve)
    app.post("/orders/{order_id}/terminate")(service.terminate)
    return app


def create_app() -> FastAPI:
    """Make the application for uvicorn, whose worker processes take no arguments."""
    folder = Path(os.environ.get("SHOP", "shop"))
    payments = os.environ.get("PAYMENTS", "http://127.0.0.1:8001")
    return make_app(OrderService(folder, payments, os.environ.get("STORE")))


class Server(uvicorn.Server):
    """Drains the flow at the first signal, and only then closes.

    By default uvicorn waits for open requests first, and these wait for whole orders.
    """

    def __init__(self, config: uvicorn.Config, cp: CheckpointFlow) -> None:
        super().__init__(config)
        self._cp, self._draining = cp, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start draining at the first signal. Later ones change nothing: uvloop repeats some."""
        if not self._draining:
            self._draining = True
            asyncio.run_coroutine_threadsafe(self._drain(), asyncio.get_running_loop())

    async def _drain(self) -> None:
        try:
            late = await self._cp.adrain(timeout=DRAIN_SECONDS)
            print(f"drained, {len(late)} orders are still in a step")
        finally:
            self.should_exit = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take orders.")
    parser.add_argument("folder", nargs="?", type=Path, default="shop")
    parser.add_argument("port", nargs="?", type=int, default=8000)
    parser.add_argument("payments", nargs="?", type=int, default=8001, help="port of the payments")
    parser.add_argument("--store", help="URL of the runs (default: a database in the folder)")
    options = parser.parse_args()
    made = OrderService(options.folder, f"http://127.0.0.1:{options.payments}", options.store)
    config = uvicorn.Config(
        make_app(made), port=options.port, timeout_graceful_shutdown=CLOSE_SECONDS, access_log=False
    )
    Server(config, made.cp).run()
