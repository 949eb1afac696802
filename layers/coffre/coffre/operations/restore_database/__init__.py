"""Restoring a database: whole, some tables, or rows alone."""
