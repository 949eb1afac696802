"""Opening a stored backup: its checked manifest, its record, and chosen entries."""
