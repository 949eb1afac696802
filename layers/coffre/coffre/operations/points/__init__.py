"""Restore points: a database and its buckets under one id."""
