"""Reading who accessed the vault from the logs of its bucket."""
