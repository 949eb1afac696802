"""What moto answers by shorter ways is what it answers by its own."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from threading import Thread
from typing import Any

import boto3
import botocore.endpoint
import botocore.parsers
import botocore.session
import moto.core.parse
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.serialize import BaseJSONSerializer, JSONSerializer
from moto.core.utils import get_service_model
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing.executors import UpdateExpressionExecutor
from tests import quick_answers, quick_calls, quick_dynamodb, quick_wire
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


def test_values_are_as_large_as_moto_finds_them() -> None:
    measure = quick_answers._measure
    for plain in (*PLAIN, {"SS": ["é", "a"]}, {"B": b"hi"}, {"M": {"é": {"M": {"b": {"L": [{"S": "é"}]}}}}}):
        value = DynamoType(plain)
        size = value.size()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DynamoType, "size", measure)
            assert size == value.size()


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


@pytest.mark.parametrize("by_wire", [True, False])
def test_no_other_thread_sees_an_item_half_written(
    by_wire: bool, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a reader that asks in the middle of an update of a new item, which has its keys alone by then."""
    writer: Any = boto3.client("dynamodb", config=Config(parameter_validation=by_wire))
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
    writer.update_item(TableName="catalog", Key=key, **written)
    reader.join()

    assert seen == [{**key, "held": {"N": "1"}}]


UPDATES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("SET held.#list[0] = :two, more = if_not_exists(more, :two) - :two", {":two": {"N": "2"}}, {"#list": "list"}),
    ("SET held.#list = list_append(held.#list, :tail) REMOVE more", {":tail": {"L": [{"S": "x"}]}}, {"#list": "list"}),
    ("REMOVE held.#list[1], held.#list[0] ADD held.#names :names, n :one DELETE held.gone :names",
     {":names": {"SS": ["y"]}, ":one": {"N": "1"}}, {"#list": "list", "#names": "names"}),
    ("SET pk = :a", {":a": {"S": "a"}}, {}),
    ("SET target_key = :empty", {":empty": {"S": ""}}, {}),
    ("SET target_key = :number", {":number": {"N": "1"}}, {}),
    ("SET a.b.c = :a", {":a": {"S": "a"}}, {}),
    ("SET a = :a, a = :a", {":a": {"S": "a"}}, {}),
    ("SET a = :missing", {":a": {"S": "a"}}, {}),
    ("SET #no = :a", {":a": {"S": "a"}}, {"#other": "a"}),
    ("SET a = ", {":a": {"S": "a"}}, {}),
    ("SET a = :a SET b = :a", {":a": {"S": "a"}}, {}),
    ("SET a = held + :a", {":a": {"N": "1"}}, {}),
]  # fmt: skip


def test_requests_are_answered_as_moto_answers_them_by_its_own_ways(dynamodb: Any) -> None:
    """Given updates that are good and bad, twice each: an expression that was read once is not changed by its use."""
    ours = _answers(dynamodb)
    dynamodb.delete_item(TableName="catalog", Key=KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "process_request", quick_wire._process_request)
        patch.setattr(SigV4Auth, "add_auth", quick_wire._add_auth)
        patch.setattr(quick_dynamodb.UpdateExpressionParser, "make", classmethod(quick_dynamodb._make))
        patch.setattr(ConditionExpressionParser, "_lex_condition_expression", quick_dynamodb._lex)
        patch.delattr(quick_dynamodb.Node, "__deepcopy__")
        patch.setattr(quick_dynamodb.Node, "find_clauses", quick_dynamodb._find_clauses)
        patch.setattr(
            quick_dynamodb.DepthFirstTraverser, "traverse", quick_dynamodb.DepthFirstTraverser.traverse_node_recursively
        )
        theirs = _answers(dynamodb)

    assert ours == theirs
    assert {None, "ValidationException", "ResourceNotFoundException"} <= {error for error, _ in ours}


def test_a_call_without_a_wire_is_answered_as_one_with_it(dynamodb: Any) -> None:
    client = boto3.client("dynamodb", config=Config(parameter_validation=False))
    gone: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_dynamodb, "_handler", lambda *_: gone.append("by wire"))
        client.put_item(TableName="catalog", Item=KEY)
        client.delete_item(TableName="catalog", Key=KEY)
    ours = _answers(client)
    dynamodb.delete_item(TableName="catalog", Key=KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_calls, "_is_direct", lambda *_: False)
        theirs = _answers(client)

    assert ours == theirs
    assert {"ConditionalCheckFailedException", "TransactionCanceledException"} <= {error for error, _ in ours}
    assert gone == []


def test_who_listens_to_calls_hears_them_and_can_answer(dynamodb: Any) -> None:
    client: Any = boto3.client("dynamodb", config=Config(parameter_validation=False))
    client.put_item(TableName="catalog", Item=KEY)
    heard: list[str] = []

    def listen(request: Any, event_name: str, **_: Any) -> AWSResponse:
        heard.append(event_name)
        return AWSResponse(request.url, 400, HTTPHeaders(), MockRawResponse(b'{"__type": "x#SomeError"}'))

    client.meta.events.register_first("before-send.dynamodb", listen)
    with pytest.raises(ClientError, match="SomeError"):
        client.get_item(TableName="catalog", Key=KEY)
    client.meta.events.unregister("before-send.dynamodb", listen)
    assert client.get_item(TableName="catalog", Key=KEY)["Item"] == KEY
    assert heard == ["before-send.dynamodb.GetItem"]


def test_what_was_sent_and_answered_may_be_changed(dynamodb: Any) -> None:
    client: Any = boto3.client("dynamodb", config=Config(parameter_validation=False))
    item: dict[str, Any] = {**KEY, "held": {"M": {"list": {"L": [{"S": "a"}]}}}}
    expected = deepcopy(item)
    client.put_item(TableName="catalog", Item=item)
    item["held"]["M"]["list"]["L"].append({"S": "b"})
    client.get_item(TableName="catalog", Key=KEY)["Item"]["held"]["M"].clear()
    assert client.get_item(TableName="catalog", Key=KEY)["Item"] == expected


KEY = {"pk": {"S": "a=b&c"}, "sk": {"S": "1"}}


def _answers(client: Any) -> list[tuple[str | None, Any]]:
    """What DynamoDB says to all sorts of requests: the code of an error, and the answer."""
    held = {"M": {"list": {"L": [{"N": "1"}, {"S": "é"}]}, "bytes": {"B": b"\xff"}, "names": {"SS": ["x"]}}}
    answers: list[tuple[str | None, Any]] = []

    def ask(operation: str, **request: Any) -> None:
        try:
            table = {} if operation == "transact_write_items" else {"TableName": "catalog"}
            answer = getattr(client, operation)(**{**table, **request})
        except ClientError as error:
            answers.append((error.response["Error"]["Code"], error.response["Error"]["Message"]))
        else:
            headers = answer.pop("ResponseMetadata")["HTTPHeaders"]
            answers.append((None, (answer, headers.keys(), headers["content-type"])))

    ask("put_item", Item={**KEY, "held": held}, ReturnConsumedCapacity="TOTAL")
    ask("put_item", Item={**KEY, "held": held}, ConditionExpression="attribute_not_exists(pk)")
    for expression, values, names in UPDATES * 2:
        given = {"ExpressionAttributeNames": names} if names else {}
        ask("update_item", Key=KEY, UpdateExpression=expression, ExpressionAttributeValues=values, **given)
        ask("get_item", Key=KEY)
    ask("get_item", Key=KEY, TableName="none")
    values = {":pk": KEY["pk"]}
    ask("query", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=values, ScanIndexForward=False)
    ask("query", KeyConditionExpression="none = :pk", ExpressionAttributeValues=values, ScanIndexForward=False)
    other = {**KEY, "sk": {"S": "2"}}
    missing = {"TableName": "catalog", "Key": {**KEY, "sk": {"S": "3"}}, "ConditionExpression": "attribute_exists(pk)"}
    for check in ([], [{"ConditionCheck": missing}]):
        ask("transact_write_items", TransactItems=[{"Put": {"TableName": "catalog", "Item": other}}, *check])
    ask("query", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=values, Limit=1, ConsistentRead=True)
    ask("delete_item", Key=other, ConditionExpression="attribute_exists(sk)", ReturnValues="ALL_OLD")
    ask("delete_item", Key=other, ConditionExpression="attribute_exists(sk)")
    return answers


def test_an_item_that_updates_make_too_large_is_refused_and_one_that_they_make_smaller_is_not(dynamodb: Any) -> None:
    def update(expression: str, **values: Any) -> Any:
        named = {f":{name}": value for name, value in values.items()}
        how = {"UpdateExpression": expression, "ExpressionAttributeValues": named}
        return dynamodb.update_item(TableName="catalog", Key={"pk": {"S": "a"}, "sk": {"S": "b"}}, **how)

    for name in ("a", "b", "c"):
        update(f"SET {name} = :text", text={"S": "é" * 60_000})
    update("SET a = :text", text={"S": "short"})
    update("SET d = :text", text={"S": "é" * 60_000})
    with pytest.raises(ClientError, match="size"):
        update("SET e = :text", text={"S": "é" * 60_000})
