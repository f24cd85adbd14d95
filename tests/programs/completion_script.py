"""Asks the command line for completions, as the shell functions of argcomplete do.

Usage: python completion_script.py <lines as JSON>

Each line is asked for in a forked child, as argcomplete takes descriptors of its process. Prints
the words for each line, as JSON. A busy machine has the time that it needs to read a store, but
for the store "hangs.pkl".
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aiocheckpoint._cli import completion
from aiocheckpoint._cli.main import main

ANSWER = Path("answer")


def ask(line: str) -> list[str]:
    """Give the words that may stand at the end of a line."""
    os.environ |= {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(ANSWER),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    completion._SECONDS = 0.01 if "hangs.pkl" in line else 60  # noqa: SLF001
    ANSWER.write_text("")
    child = os.fork()
    if child == 0:
        with Path(os.devnull).open("w") as nothing:  # argcomplete takes the descriptor 9.
            os.dup2(nothing.fileno(), 9)
        code = 99
        try:
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    words = [word.strip() for word in ANSWER.read_text().split("\n")]
    return sorted(words) if os.waitstatus_to_exitcode(status) == 0 else ["", "failed"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps({line: ask(line) for line in json.loads(sys.argv[1])}))
