"""`coffre audit`: who did what, and who accessed the vault."""
