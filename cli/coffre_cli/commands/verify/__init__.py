"""The commands `coffre verify` and `coffre report`."""
