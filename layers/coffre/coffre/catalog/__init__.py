"""The DynamoDB table: backups, restores, slots, audit events and locks."""
