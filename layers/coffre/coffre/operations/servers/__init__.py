"""Finding the databases of a server."""
