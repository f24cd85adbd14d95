"""Three steps: the second breaks, is mended, and the flow resumes where it broke.

Run it with: python examples/quickstart.py
"""

import asyncio
import json
import os
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import aiofiles

from aiocheckpoint import CheckpointFlow, replacing

State = dict[str, Any]  # small variables, written to the checkpoint after every step
Data = dict[str, Any]  # large values, moved by loaders and savers alone

scratch = tempfile.TemporaryDirectory()  # a real flow would keep its files
folder = Path(scratch.name)
cp = CheckpointFlow(folder / "checkpoint.pkl")


def save_readings(state: State, data: Data) -> None:
    """Write the readings to a file, so that they need not be collected again."""
    print("   saver   save_readings")
    with replacing(folder / f"{state['town']}-readings.json") as temporary:
        temporary.write_text(json.dumps(data["readings"]))


def load_readings(state: State) -> Data:
    """Return ``readings``: day -> temperatures."""
    print("   loader  load_readings")
    return {"readings": json.loads(Path(folder, f"{state['town']}-readings.json").read_text())}


async def save_means(state: State, data: Data) -> None:
    """Write the means to a file. Loaders and savers may be coroutines as well."""
    print("   saver   save_means")
    async with (
        replacing(folder / f"{state['town']}-means.json") as temporary,
        aiofiles.open(temporary, "w") as file,
    ):
        await file.write(json.dumps(data["means"]))


async def load_means(state: State) -> Data:
    """Return ``means``: day -> mean temperature."""
    print("   loader  load_means")
    async with aiofiles.open(folder / f"{state['town']}-means.json") as file:
        return {"means": json.loads(await file.read())}


@cp.add_step(save=save_readings)
async def collect(state: State, data: Data) -> None:
    """Collect the temperatures of each day."""
    print("   step    collect")
    await asyncio.sleep(0)  # where a real flow would wait for the network
    data["readings"] = {"Mon": [11, 15], "Tue": [], "Wed": [14, 20]}
    state["days"] = len(data["readings"])


@cp.add_step(load=load_readings, needs=("readings",), save=save_means)
def average(state: State, data: Data) -> None:
    """Compute the mean of each day."""
    print("   step    average")
    state["attempts"] = state.get("attempts", 0) + 1
    data["means"] = {day: sum(temps) / len(temps) for day, temps in data["readings"].items()}


@cp.add_step(load=load_means, needs=("means",))
async def choose(state: State, data: Data) -> None:
    """Choose the warmest day."""
    print("   step    choose")
    state["warmest"] = max(data["means"], key=data["means"].get)


def mended_average(state: State, data: Data) -> None:
    """Compute the mean of each day with temperatures."""
    print("   step    average, mended")
    state["attempts"] = state.get("attempts", 0) + 1
    known = {day: temps for day, temps in data["readings"].items() if temps}
    data["means"] = {day: sum(temps) / len(temps) for day, temps in known.items()}


def show(text: object) -> None:
    """Print a text of the library, wrapped, without the name of the temporary folder."""
    for line in str(text).replace(f"{folder}{os.sep}", "").splitlines():
        print(textwrap.fill(line, 90, initial_indent="   ", subsequent_indent="   "))


def tell_story() -> None:
    """Run the flow again and again, and print each result."""
    print("1. The first run: on Tuesday nobody measured, so the second step breaks.")
    try:
        cp.run({"town": "Lund"})
    except ZeroDivisionError as error:
        show(f"{type(error).__name__}: {error}")
        show("\n".join(error.__notes__))

    print("\n2. The checkpoint holds the state as it was on entry to that step.")
    show(cp.handler.read())
    show(cp.plan())

    print("\n3. The step is mended, and the flow resumes there: nothing is collected twice.")
    mend = cp.add_step(load_readings, save_means, needs=("readings",), name="average", replace=True)
    mend(mended_average)
    show(cp.run())

    print("\n4. That run is finished, so the next one starts from the beginning.")
    show(cp.run({"town": "Oslo"}))

    print('\n5. load_policy="always": every loader runs, not only that of the first step to run.')
    show(cp.run({"town": "Rome"}, load_policy="always"))

    print("\n6. checkpoint=1: start at the second step, with the state that is stored.")
    show(cp.run(checkpoint=1))


if __name__ == "__main__":
    with scratch:
        tell_story()
