"""Deleting backups that no tier keeps any more, and their bytes."""
