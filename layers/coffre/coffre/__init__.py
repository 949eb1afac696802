"""Coffre: backups of PostgreSQL databases and buckets that are proved by restoring them."""

__version__ = "0.1.0"
