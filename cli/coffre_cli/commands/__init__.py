"""One module for each command of `coffre`."""
