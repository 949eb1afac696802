"""A backup that is spread over several invocations: one plan, holders of its snapshot, workers, one seal (ADR 46)."""
