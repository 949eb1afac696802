"""Coffre on one machine, without AWS or Docker: tools, a PostgreSQL server, an emulated AWS, the deployed stack."""
