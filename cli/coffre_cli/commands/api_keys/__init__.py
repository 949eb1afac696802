"""`coffre api-keys`: keys with which machines use the console's API."""
