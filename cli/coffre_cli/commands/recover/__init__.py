"""The command `coffre recover`."""
