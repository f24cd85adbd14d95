"""Snapshots of many runs in a PostgreSQL database, for processes of many machines.

Imports `handlers.leased` and everything below it, and psycopg. Open `_handler` first.
"""
