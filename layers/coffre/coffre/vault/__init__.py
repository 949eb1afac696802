"""Coffre's own bytes in an object store: frames, packs, entries, manifests (docs/format)."""
