"""Browsing backups: their contents, and the differences between two."""
