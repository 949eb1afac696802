"""The format of `pg_dump` archives: reading, writing, choosing from them."""
