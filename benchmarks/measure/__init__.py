"""Measuring: pairs in turns, the host, environments of other libraries, result files."""
