"""Loads random streams under `allow=`, in little memory: `fuzz_allow_script.py SEED COUNT`.

Prints JSON: how many were loaded and refused, the longest time, and the streams after which a
listed object had changed or an error was no documented one.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = Path(__file__).parent
sys.path.insert(0, str(PROGRAMS.parent / "support"))

import hostile_pickles as hostile  # noqa: E402

from aiocheckpoint import CheckpointError, LocalStateHandler  # noqa: E402

MEMORY = 2 << 30
NAMES = [name.split(":") for name in hostile.LISTED]
ATOMS = [
    *(b"N", b"\x88", b"K\x01", b"J\xff\xff\xff\xff", b"G" + bytes(8), b")", b"\x8c\x01a"),
    *(hostile.text("__dict__"), hostile.text("is_admin"), hostile.large(3), b"V\\u0061\n"),
]
BUILDERS = [
    *(b"]", b"}", b"\x8f", b"(", b"(", b"\x85", b"\x86", b"\x87", b"t", b"l", b"d", b"\x91"),
    *(b"a", b"e", b"s", b"u", b"\x90", b"b", b"b", b"R", b"\x81", b"\x92", b"o", b"0", b"1", b"2"),
    *(b"\x94", b"h\x00", b"h\x01", b"q\x05", b"h\x05", b"j\x02\x00\x00\x00", b")R", b")\x81"),
    *(b"\x82\x01", b"Pid\n", b"Q", b"N}\x86", b"\x95" + bytes(8), b"\x97"),
]
STATES = [hostile.items(is_admin=b"\x88"), b"N" + hostile.items(is_admin=b"\x88") + b"\x86"]
PARTS = [hostile.text(module) + hostile.text(name) + b"\x93" for module, name in NAMES]
WHOLE = [
    *hostile.CHANGES.values(),
    *(hostile.dumped(one)[2:-1] for one in hostile.OBJECTS.values()),
]


def limit_memory() -> None:
    """Limit the address space of the process."""
    try:
        import resource  # noqa: PLC0415 - of POSIX alone
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Programs:
    """Makes streams of which most opcodes can be applied."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._entries = 0

    def stream(self) -> bytes:
        """Make a dict with a random value."""
        self._entries = 0
        return hostile.dict_of(self._value(4))

    def _value(self, depth: int) -> bytes:
        ways = [self._atom, self._part, self._old]
        if depth:
            ways += [self._group, self._made, self._made, self._changed, self._changed, self._new]
        return self._chance.choice(ways)(depth - 1)

    def _atom(self, _: int) -> bytes:
        return self._chance.choice(ATOMS)

    def _part(self, _: int) -> bytes:
        return self._chance.choice([*PARTS, *WHOLE[:4]])

    def _old(self, depth: int) -> bytes:
        return (
            b"h%c" % self._chance.randrange(self._entries) if self._entries else self._atom(depth)
        )

    def _new(self, depth: int) -> bytes:
        value = self._value(depth)
        self._entries += 1
        return value + b"\x94"

    def _group(self, depth: int) -> bytes:
        one, other = self._value(depth), self._value(depth)
        ways = (b"%b%b\x86", b"](%b%be", b"}(%b%bu", b"(%b%bl", b"\x8f(%b%b\x90", b"(%b%b\x91")
        return self._chance.choice(ways) % (one, other)

    def _made(self, depth: int) -> bytes:
        maker = self._chance.choice(PARTS)
        call = self._chance.choice((b"R", b"R", b"\x81"))
        if self._chance.randrange(2):
            return maker + b")" + call
        one = self._value(depth)
        if self._chance.randrange(2):
            return maker + one + b"\x85" + call
        return maker + one + self._value(depth) + b"\x86" + call

    def _changed(self, depth: int) -> bytes:
        target, one = self._value(depth), self._value(depth)
        ways = (b"%b%ba", b"%b(%be", b"%bK\x01%bs", b"%b(K\x01%bu", b"%b(%b\x90", b"%b%bb")
        if self._chance.randrange(2):
            return target + self._chance.choice(STATES) + b"b"
        return self._chance.choice(ways) % (target, one)


def mutated(chance: random.Random) -> bytes:
    """Change some bytes of a stream that was sound or hostile."""
    data = bytearray(hostile.dict_of(chance.choice(WHOLE)))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        change = chance.randrange(3)
        if change == 0:
            data[at] = chance.randrange(256)
        elif change == 1:
            del data[at]
            data += b"."
        else:
            data[at:at] = chance.choice(chance.choice([ATOMS, BUILDERS, STATES]))
    return bytes(data)


def main(seed: int, count: int) -> dict[str, object]:
    """Load so many streams."""
    chance, before = random.Random(seed), hostile.listed_as_they_were()  # noqa: S311
    programs = Programs(chance)
    path = Path(tempfile.mkdtemp()) / "c.pkl"
    handler = LocalStateHandler(path, allow=[*hostile.LISTED, "collections:OrderedDict"])
    loaded, longest, wrong = 0, 0.0, list[tuple[str, str]]()
    for number in range(count):
        stream = mutated(chance) if number % 4 == 0 else programs.stream()
        path.write_bytes(stream)
        begun = time.process_time()
        try:
            handler.read()
            loaded += 1
        except CheckpointError:
            pass
        except BaseException as error:  # noqa: BLE001 - each is reported
            wrong.append((type(error).__name__, stream.hex()))
        longest = max(longest, time.process_time() - begun)
        if hostile.listed_as_they_were() != before:
            wrong.append(("changed", stream.hex()))
            break
    return {"loaded": loaded, "refused": count - loaded, "wrong": wrong, "longest": longest}


if __name__ == "__main__":
    limit_memory()
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
