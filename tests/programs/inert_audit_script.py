"""Decodes hostile streams under an audit hook: `inert_audit_script.py SEED COUNT`.

Prints JSON: the names of all audit events that came while the decoder worked, the errors that were
not the documented one, how many streams were decoded and refused, and the longest time.
"""

from __future__ import annotations

import copyreg
import io
import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dill  # type: ignore[import-untyped]

PROGRAMS = Path(__file__).parent
sys.path[:0] = [str(PROGRAMS), str(PROGRAMS.parent / "support")]

import fuzz_allow_script as fuzzing  # noqa: E402
import hostile_pickles as hostile  # noqa: E402
import known_objects  # noqa: E402

from aiocheckpoint._snapshot.pickling.inert import (  # noqa: E402
    MISSING,
    InertBounds,
    decode_inert,
    diff_trees,
    to_json,
    type_name,
)
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError  # noqa: E402

BOUNDS = InertBounds(items=400_000, memory=1 << 24, text=1 << 20)
EXTENSION = 77
COSTLY = ("deep", "large number", "long texts", "one hash in", "one hash, ")
"""Beginnings of the names of streams that take seconds. They are decoded elsewhere."""


class Canary:
    """An object whose unpickling would call a function."""

    def __init__(self, function: Any, *args: Any) -> None:  # noqa: ANN401
        self.call = function, args

    def __reduce__(self) -> Any:  # noqa: ANN401
        return self.call


def canaries() -> list[bytes]:
    """Give streams whose unpickling would import, open, execute and compile."""
    calls = [
        Canary(vars(os)["system"], "exit 9"),
        Canary(subprocess.Popen, ["true"]),
        Canary(open, "/nowhere/at/all", "w"),
        Canary(exec, "raise SystemExit(9)"),
        Canary(eval, "1"),
        Canary(compile, "1", "a", "eval"),
        Canary(__import__, "antigravity"),
        Canary(os.remove, "/nowhere/at/all"),
    ]
    state = {str(number): one for number, one in enumerate(calls)}
    found = [pickle.dumps(state, protocol) for protocol in range(6)]
    found += [dill.dumps(state), dill.dumps({"f": lambda: canaries, "c": local()})]
    copyreg.add_extension("os", "system", EXTENSION)
    found += [hostile.dict_of(b"\x82M"), hostile.dict_of(b"\x82M\x8c\x01a\x85R")]
    found += [hostile.dict_of(b"cantigravity\nfly\n)R"), hostile.dict_of(b"(iantigravity\nfly\n")]
    return found


def local() -> Any:  # noqa: ANN401
    """Give an object of a class that dill writes by value."""

    class Local:
        """A class that no name finds."""

    return Local()


def streams(seed: int, count: int) -> list[bytes]:
    """Give all streams."""
    chance = random.Random(seed)  # noqa: S311
    programs = fuzzing.Programs(chance)
    costly = [
        hostile.dict_of(one) for name, one in hostile.COSTLY.items() if not name.startswith(COSTLY)
    ]
    found = [*canaries(), *costly, *map(hostile.dict_of, hostile.CHANGES.values())]
    found += [hostile.flood(name, 4_000) for name in hostile.FLOODS]
    whole = known_objects.streams()
    found += [*whole, *(one[: chance.randrange(len(one))] for one in whole)]
    for _ in range(count):
        found.append(programs.stream() if chance.randrange(2) else fuzzing.mutated(chance))
        found.append(changed(chance, chance.choice(whole)))
    return found


def changed(chance: random.Random, data: bytes) -> bytes:
    """Change a byte of a stream."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


class Audit:
    """Decodes streams, and notes the audit events that come meanwhile."""

    def __init__(self) -> None:
        self.events: set[str] = set()
        self.errors: set[str] = set()
        self.counts = [0, 0]
        self.longest = 0.0
        self._works = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, _: tuple[Any, ...]) -> None:
        if self._works and event != "builtins.id":
            self.events.add(event)

    def decode(self, data: bytes, before: bytes) -> None:
        """Decode and show a stream, and compare it with another."""
        files, begin = (io.BytesIO(data), io.BytesIO(before)), time.perf_counter()
        self._works = True
        try:
            new = decode_inert(files[0], BOUNDS)
            found = [(to_json(one.key), to_json(one.tree), type_name(one.tree)) for one in new.keys]
            changes = diff_trees(decode_inert(files[1], BOUNDS), new).changes
            both = [side for one in changes for side in (one.old, one.new) if side is not MISSING]
            found += [(to_json(side), type_name(side), "") for side in both]
        except MalformedError:
            self.counts[1] += 1
        except BaseException as error:  # noqa: BLE001 - it is what is looked for
            self.errors.add(f"{type(error).__name__} {error} {data[:2000]!r}")
        else:
            self.counts[0] += 1
            self._works = False
            json.dumps(found).encode()
        self._works = False
        self.longest = max(self.longest, time.perf_counter() - begin)


def main() -> None:
    """Do as told by the command line."""
    found = streams(int(sys.argv[1]), int(sys.argv[2]))
    fuzzing.limit_memory()
    audit, before = Audit(), pickle.dumps({"k": [1, {"a": 2}], "b": None})
    for data in found:
        audit.decode(data, before)
    decoded, refused = audit.counts
    report: dict[str, Any] = {"events": sorted(audit.events), "errors": sorted(audit.errors)}
    report |= {"decoded": decoded, "refused": refused, "longest": audit.longest}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
