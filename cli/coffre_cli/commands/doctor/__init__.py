"""`coffre doctor`."""
