"""Looking for what will break a backup or a restore, before it does (docs/doctor.md)."""
