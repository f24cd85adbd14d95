"""Workloads: floors, flows, rows, crowds, and the processes that two commands start."""
