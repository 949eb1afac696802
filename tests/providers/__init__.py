"""Servers that refuse what providers refuse: real PostgreSQL, whose administrator is no superuser."""
