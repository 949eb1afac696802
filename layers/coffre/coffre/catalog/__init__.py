"""The DynamoDB table: backups, restores, slots, audit events and locks (docs/adr/0003)."""
