"""A backup of buckets that is spread over several functions: ranges of names, workers, one seal (ADR 60)."""
