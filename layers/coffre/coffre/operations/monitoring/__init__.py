"""Health checks of all targets, and the alerts of all functions."""
