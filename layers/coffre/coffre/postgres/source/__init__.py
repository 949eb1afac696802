"""Reading a database: its snapshot, definitions and rows."""
