"""Deleting what has outlived its tiers."""
