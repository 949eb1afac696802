"""Status: what is known of all targets, read for one glance."""
