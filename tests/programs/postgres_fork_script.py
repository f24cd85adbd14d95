"""Connects to the database of its argument, forks a child that sleeps, and prints its id."""

import os
import sys
import time

from aiocheckpoint.handlers.postgres import PostgresStateHandler

handler = PostgresStateHandler(sys.argv[1])
with handler.locked("a"):
    handler.read("a")
    child = os.fork()
    if child == 0:
        time.sleep(300)
        os._exit(0)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    time.sleep(300)
