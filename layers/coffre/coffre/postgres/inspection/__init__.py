"""What `coffre doctor` asks a server: few queries, each of which says something about all objects at once."""
