"""Writes versions of the configuration document (docs/adr/0026)."""
