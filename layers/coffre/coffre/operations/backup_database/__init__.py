"""Backing up a database."""
