"""Stores an instance of a class of `__main__` under a list: allowlist_script.py PATH [NAME ...]."""

from __future__ import annotations

import sys

from aiocheckpoint import LocalStateHandler, UnserializableStateError


class Own:
    """A class of the script."""

    number = 5


handler = LocalStateHandler(sys.argv[1], allow=sys.argv[2:], fsync=False)
try:
    handler.write({"own": Own()})
except UnserializableStateError as error:
    sys.exit(str(error))
sys.stdout.write(str(handler.read()["own"].number))
