"""Measuring: pairs in turns, the machine, environments of other libraries, result files."""
