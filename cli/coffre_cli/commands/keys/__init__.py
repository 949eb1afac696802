"""Commands for the keys that encrypt and open backups, and the recovery kit."""
