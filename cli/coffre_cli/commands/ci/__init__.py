"""`coffre ci`: the pipeline that starts backups without a stored key."""
