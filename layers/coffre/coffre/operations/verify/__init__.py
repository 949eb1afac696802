"""Verifying that backups are recent, complete and as stored."""
