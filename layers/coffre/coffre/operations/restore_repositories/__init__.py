"""Repositories of a backup, as bare clones on a disk or in empty repositories at a server."""
