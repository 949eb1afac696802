"""Who calls the console, and what they may do there (ADR 56)."""
