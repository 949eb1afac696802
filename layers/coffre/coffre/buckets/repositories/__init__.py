"""Git repositories as backups read them: refs, bundles, LFS objects (docs/repositories.md)."""
