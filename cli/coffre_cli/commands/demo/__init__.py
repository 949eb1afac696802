"""The command `coffre demo`."""
