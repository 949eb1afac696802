"""Decisions as pure functions: the time is an argument."""
