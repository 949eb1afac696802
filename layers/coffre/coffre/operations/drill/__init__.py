"""Drills: proving a backup by really restoring it."""
