"""The command line: a frame, and one module for each command in `commands/`.

The frame parses words, opens targets, prints and maps errors to exit codes. A command gets a
`Context` and gives an exit code. Records of `aiocheckpoint.look` are all that is shown of a store.
Open `main.py` first.
"""

__all__: list[str] = []
