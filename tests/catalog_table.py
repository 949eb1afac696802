"""The catalog's table where CloudFormation did not make one."""

from __future__ import annotations

from coffre.catalog.tables import DynamoTable, table_definition


def create_table(name: str, *, region: str | None = None) -> None:
    """Create the table of this name."""
    create(DynamoTable(name, region=region))


def create(table: DynamoTable) -> None:
    """Create a table by the client that it has: another client would take most of a test's time."""
    table._connection.connection.dispatch("CreateTable", {"TableName": table.name, **table_definition()})
