"""Connecting to a server, and what it answers about itself."""
