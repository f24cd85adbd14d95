"""Tests that run for minutes; a bounded version of each is among the other tests."""
