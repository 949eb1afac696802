"""The catalog's table where CloudFormation did not make one."""

from __future__ import annotations

from typing import Any

import boto3

from coffre.catalog.tables import DynamoTable, table_definition


def create_table(name: str, *, region: str | None = None) -> None:
    """Create the table of this name."""
    create(DynamoTable(name, region=region))


def create(table: DynamoTable) -> None:
    """Create a table by the client that it has: another client would take most of a test's time."""
    table._connection.connection.dispatch("CreateTable", {"TableName": table.name, **table_definition()})


def spoil(partition: str, field: str) -> str:
    """Change the newest item of a partition by hand, so that no version of Coffre can have written it; return its key.

    Where its `sk` is a text with a time, the newest is the last one.
    """
    client: Any = boto3.client("dynamodb")
    condition: dict[str, Any] = {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": partition}},
    }
    item = client.query(TableName="catalog", ScanIndexForward=False, **condition)["Items"][0]
    client.put_item(TableName="catalog", Item={**item, field: {"BOOL": True}})
    return f"{partition} / {item['sk']['S']}"
