"""Restoring settings."""
