"""Records of the log, as a command says them."""

from __future__ import annotations

import io
import logging
from unittest import mock

from aiocheckpoint._cli.log_records import told_by
from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.terminal import Terminal


def test_records_of_the_log() -> None:
    """Warnings of the log are words, made harmless, unless the program has a log of its own."""
    err = io.StringIO()
    output = Output(io.StringIO(), err, Terminal(None, None, colour=False, unicode=True))
    log = logging.getLogger("shop.of.a.test")
    with mock.patch.object(logging.getLogger(), "handlers", []), told_by(output):
        log.warning("run %s was left out", "a\x1b[31m")
        log.info("nobody hears this")
    assert err.getvalue() == "warning: run a\\x1b[31m was left out\n"
