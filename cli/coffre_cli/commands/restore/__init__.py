"""The command `coffre restore`."""
