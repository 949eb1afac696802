"""Pinning and deleting backups, and rebuilding the catalog."""
