"""Tests that run for minutes; a bounded version of each stands among the other tests."""
