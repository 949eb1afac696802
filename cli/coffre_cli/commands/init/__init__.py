"""`coffre init`: from nothing to a backup that was restored."""
