"""The command `coffre export`."""
