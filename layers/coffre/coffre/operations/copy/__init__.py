"""Copies of backups in other vaults (docs/copies.md, ADR 34)."""
