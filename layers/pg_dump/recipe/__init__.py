"""Build recipe of the PostgreSQL client layer: pinned inputs in, a gated directory tree out (standard library only)."""
