"""Users' buckets, in any store that speaks S3: reading them for backups, and writing them back."""
