"""Backing up buckets."""
