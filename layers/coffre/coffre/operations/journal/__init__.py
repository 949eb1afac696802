"""The journal of a database: its changes between backups, drained from a replication slot into the vault."""
