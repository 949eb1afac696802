"""Writing to a database: definitions, rows, and swapping databases."""
