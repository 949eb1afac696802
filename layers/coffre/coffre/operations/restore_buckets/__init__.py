"""Restoring objects into buckets."""
