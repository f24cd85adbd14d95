"""`python -m aiocheckpoint`: the command line."""

import sys

from aiocheckpoint._cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
