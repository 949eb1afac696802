"""PostgreSQL: connections, the client tools, the snapshot, the dump and the load."""
