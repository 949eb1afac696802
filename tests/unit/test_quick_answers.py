"""What moto answers by shorter ways is what it answers by its own."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import boto3
import botocore.parsers
import moto.core.parse
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.serialize import BaseJSONSerializer, JSONSerializer
from moto.core.utils import get_service_model
from moto.dynamodb.parsing.executors import UpdateExpressionExecutor
from tests.catalog_table import create_table

PLAIN: list[dict[str, Any]] = [
    {"S": ""}, {"S": "é"}, {"N": "-1.50"}, {"BOOL": False}, {"NULL": True}, {"L": []}, {"M": {}},
    {"L": [{"S": "a"}, {"M": {"b": {"N": "1"}}}]}, {"M": {"a": {"L": [{"BOOL": True}]}, "b": {"B": "aGk="}}},
]  # fmt: skip


def test_values_are_taken_as_moto_and_boto_would_convert_them() -> None:
    operation = get_service_model("dynamodb").operation_model("GetItem")
    shape = operation.output_shape.members["Item"].value
    serializer = JSONSerializer(operation)
    serialize = vars(BaseJSONSerializer)["_serialize_type_structure"]
    parsers = [
        (moto.core.parse.JSONParser(operation), vars(moto.core.parse.BaseJSONParser)["_parse_structure"]),
        (botocore.parsers.JSONParser(), vars(botocore.parsers.BaseJSONParser)["_handle_structure"]),
    ]
    for value in PLAIN:
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        serialize(serializer, ours, value, shape, "Item")
        serialize.__wrapped__(serializer, theirs, value, shape, "Item")
        assert ours == theirs
        for parser, parse in parsers:
            assert parse(parser, shape, value) == parse.__wrapped__(parser, shape, value)


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the played DynamoDB, which has the table `catalog`."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        create_table("catalog")
        yield boto3.client("dynamodb")


def test_a_transaction_that_fails_changes_nothing_and_large_items_are_refused(dynamodb: Any) -> None:
    key = {"pk": {"S": "a"}, "sk": {"S": "1"}}
    item = {**key, "held": {"M": {"list": {"L": [{"N": "1"}]}, "bytes": {"B": b"\xff"}, "names": {"SS": ["x"]}}}}
    change = {
        "TableName": "catalog",
        "Key": key,
        "UpdateExpression": "SET held.#list[0] = :two, more = :two ADD held.#names :names",
        "ExpressionAttributeNames": {"#list": "list", "#names": "names"},
        "ExpressionAttributeValues": {":two": {"N": "2"}, ":names": {"SS": ["y"]}},
    }
    refused = {"TableName": "catalog", "Key": {**key, "sk": {"S": "2"}}, "ConditionExpression": "attribute_exists(pk)"}
    dynamodb.put_item(TableName="catalog", Item=item)

    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[{"Update": change}, {"ConditionCheck": refused}])
    assert dynamodb.get_item(TableName="catalog", Key=key)["Item"] == item
    with pytest.raises(ClientError, match="Item size has exceeded"):
        dynamodb.put_item(TableName="catalog", Item={**key, "a": {"S": "x" * 205_000}, "b": {"S": "x" * 205_000}})
    dynamodb.put_item(TableName="catalog", Item={**key, "a": {"S": "x" * 205_000}, "b": {"S": "x" * 190_000}})


def test_no_other_thread_sees_an_item_half_written(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a reader that asks in the middle of an update of a new item, which has its keys alone by then."""
    key = {"pk": {"S": "a"}, "sk": {"S": "1"}}
    seen: list[dict[str, Any]] = []
    reader = Thread(target=lambda: seen.append(dynamodb.get_item(TableName="catalog", Key=key)["Item"]))
    execute = vars(UpdateExpressionExecutor)["execute"]

    def executed(executor: UpdateExpressionExecutor, node: Any = None) -> None:
        if reader.ident is None:
            reader.start()
            reader.join(0.3)
        execute(executor, node)

    monkeypatch.setattr(UpdateExpressionExecutor, "execute", executed)
    written = {"ExpressionAttributeValues": {":one": {"N": "1"}}, "UpdateExpression": "SET held = :one"}
    dynamodb.update_item(TableName="catalog", Key=key, **written)
    reader.join()

    assert seen == [{**key, "held": {"N": "1"}}]
