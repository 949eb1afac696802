"""What things are: targets, backups, manifests, parts and errors. No I/O and no clock."""
