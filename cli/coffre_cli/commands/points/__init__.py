"""Restore points: `coffre backup point`, `coffre list --points`, `coffre restore point`."""
