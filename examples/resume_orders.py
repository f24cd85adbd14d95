"""Many orders in one database, killed in the middle, and resumed when the service starts again.

Run it with: python examples/resume_orders.py
"""

import asyncio
import subprocess
import sys
import tempfile
from typing import Any

from aiocheckpoint import CheckpointFlow, current_step

State = dict[str, Any]  # the known facts of one order, stored after every step
ORDERS = [f"order-{number}" for number in range(1, 6)]
paid: dict[str, int] = {}  # the bank: one payment for each idempotency key


def make_flow(folder: str, *, hangs: bool) -> CheckpointFlow:
    """Make the flow whose runs are the orders. With `hangs`, the bank never answers."""
    cp = CheckpointFlow(f"sqlite:///{folder}/orders.db")

    @cp.add_step()
    async def check(state: State) -> None:
        state["total"] = sum(state["prices"])

    @cp.add_step()
    async def pay(state: State) -> None:
        if hangs:
            print("paying", flush=True)
            await asyncio.sleep(3600)
        paid.setdefault(current_step().idempotency_key, state["total"])
        state["paid"] = True

    return cp


async def take_orders(cp: CheckpointFlow) -> None:
    """Run all orders side by side, as a service with many requests would."""
    prices = range(1, len(ORDERS) + 1)
    pairs = zip(ORDERS, prices, strict=True)
    await asyncio.gather(*(cp.arun({"prices": [n, n]}, run_id=order) for order, n in pairs))


def start_and_kill(folder: str) -> None:
    """Start the service in another process, and kill it when every order is being paid."""
    command = [sys.executable, __file__, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        for _ in ORDERS:
            service.stdout.readline()
        service.kill()


async def restart(cp: CheckpointFlow) -> None:
    """Resume as a service does at its start, and then serve a repeated request."""
    for header in sorted(await cp.aruns("running"), key=lambda header: str(header.run_id)):
        print(f"   {header.run_id} was killed at step {header.position + 1} of 2")
    print("\n2. The service starts again and resumes what nobody owns.")
    results = [result async for result in cp.aresume_all(limit=3)]
    for result in sorted(results, key=lambda result: str(result.run_id)):
        print(f"   {result.run_id}: {result.state}")
    print("\n3. A request that is tried again does the work once.")
    print(f"   {await cp.arun({'prices': [1, 1]}, run_id='order-1', once=True)}")
    print(f"   {len(paid)} payments, {len(await cp.aruns('finished'))} orders finished")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(take_orders(make_flow(sys.argv[1], hangs=True)))
    else:
        with tempfile.TemporaryDirectory() as scratch:  # a real service would keep its database
            print(f"1. A service with {len(ORDERS)} orders is killed.")
            start_and_kill(scratch)
            asyncio.run(restart(make_flow(scratch, hangs=False)))
