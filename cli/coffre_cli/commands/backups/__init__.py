"""Commands that take, list, inspect and delete backups."""
