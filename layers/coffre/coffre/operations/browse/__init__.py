"""Looking into backups: what they contain, and what changed between two."""
