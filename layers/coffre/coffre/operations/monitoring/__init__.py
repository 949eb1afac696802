"""Checking all targets, and raising alerts."""
