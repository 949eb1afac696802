"""Writing a backup into portable files."""
