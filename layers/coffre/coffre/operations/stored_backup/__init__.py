"""Opening a backup that exists: its manifest, checked, and the entries that are asked for."""
