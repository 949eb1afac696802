"""The table's definition, the endpoint it is asked at, and what its errors become."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import boto3
import botocore.parsers
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from pydantic import BaseModel
from pynamodb.attributes import AttributeContainer
from tests.catalog_table import create_table

from coffre.catalog.catalog import Catalog
from coffre.catalog.connection import connect
from coffre.catalog.items import FailureMap
from coffre.catalog.run_items import BackupItem, ProgressMap, RestoreItem
from coffre.catalog.tables import table_definition
from coffre.model.backup import Backup, Failure, Progress, Restore, Status
from coffre.model.errors import BackupStateError, CatalogError, IntegrityError

type NewBackup = Callable[..., Backup]

NOWHERE = "http://127.0.0.1:9"


# --- the definition ---


def test_the_table_is_created_as_defined(catalog: Catalog) -> None:
    table = boto3.client("dynamodb").describe_table(TableName="coffre-catalog")["Table"]
    definition = table_definition()
    assert table["KeySchema"] == definition["KeySchema"]
    assert table["BillingModeSummary"]["BillingMode"] == definition["BillingMode"] == "PAY_PER_REQUEST"
    assert {attribute["AttributeName"] for attribute in table["AttributeDefinitions"]} == {
        "pk",
        "sk",
        "target_key",
        "status_key",
    }
    indexes = {index["IndexName"]: index["KeySchema"] for index in table["GlobalSecondaryIndexes"]}
    assert indexes == {index["IndexName"]: index["KeySchema"] for index in definition["GlobalSecondaryIndexes"]}
    assert set(indexes) == {"by_target", "by_status"}


def test_two_catalogs_in_one_process_have_a_table_each(catalog: Catalog, new_backup: NewBackup) -> None:
    create_table("other", region="us-east-1")
    other = Catalog("other", region="us-east-1")
    backup = new_backup()
    other.create_backup(backup)
    assert list(catalog.backups()) == []
    assert list(other.backups()) == [backup]


def test_items_are_left_as_they_come_and_are_what_botocore_makes_of_them() -> None:
    session = botocore.session.get_session()
    client = connect(
        "any", table_definition(), region="eu-west-1", endpoint_url=NOWHERE, session=session
    ).connection.client
    parser = session.get_component("response_parser_factory").create_parser("json")
    item: dict[str, Any] = {
        "sk": {"S": "x"},
        "packs": {"N": "12"},
        "tiers": {"SS": ["DAILY", "WEEKLY"]},
        "progress": {"M": {"phase": {"S": "copy"}, "current": {"NULL": True}}},
        "notes": {"L": [{"S": "é"}, {"BOOL": False}]},
    }
    known = {"sk": item["sk"]}
    answers = [("Query", {"Items": [item], "Count": 1, "LastEvaluatedKey": known}), ("GetItem", {"Item": item})]
    answers += [("UpdateItem", {"Attributes": item}), ("PutItem", {})]
    for operation, body in answers:
        shape: Any = client.meta.service_model.operation_model(operation).output_shape
        answer = {"body": json.dumps(body).encode(), "headers": {"x-amzn-requestid": "r"}, "status_code": 200}
        found = parser.parse(answer, shape)
        assert found == botocore.parsers.create_parser("json").parse(answer, shape)
        assert found.pop("ResponseMetadata")["RequestId"] == "r"
        assert found == body

    # botocore would name what it does not know, so it did look at each attribute.
    later = {"body": b'{"Item": {"sk": {"LATER": "1"}}}', "headers": {}, "status_code": 200}
    shape = client.meta.service_model.operation_model("GetItem").output_shape
    assert parser.parse(later, shape)["Item"] == {"sk": {"LATER": "1"}}


# --- where it is ---


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
def test_the_endpoint_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, NOWHERE)
    with pytest.raises(CatalogError) as caught:
        Catalog("t").get_backup("01A")
    assert NOWHERE in (caught.value.detail or "")


def test_an_endpoint_that_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    with pytest.raises(CatalogError) as caught:
        Catalog("t", endpoint_url=NOWHERE).get_backup("01A")
    assert NOWHERE in (caught.value.detail or "")


def test_an_endpoint_that_is_down_is_a_catalog_error_within_seconds(
    now: datetime, new_backup: NewBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    catalog = Catalog("t", endpoint_url=NOWHERE)
    calls: list[Callable[[], object]] = [
        lambda: catalog.get_backup("01A"),
        lambda: catalog.create_backup(new_backup()),
        lambda: list(catalog.backups()),
        lambda: catalog.locks.acquire("shop", "01A", now, stale_after=timedelta(minutes=1)),
        lambda: catalog.locks.release("shop", "01A"),
        lambda: catalog.audit.record(now, "rotate", "backup.deleted"),
        lambda: catalog.claim_slot("shop", now, "01A", now),
    ]
    for call in calls:
        with pytest.raises(CatalogError) as caught:
            call()
        assert "gateway endpoint" in (caught.value.hint or "")
        assert caught.value.__cause__ is not None
    assert 0 < sum(pauses) < 10


def test_a_catalog_asks_nothing_before_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    catalog = Catalog("t")
    with pytest.raises(CatalogError) as caught:
        catalog.get_backup("01A")
    assert "AWS_REGION" in (caught.value.hint or "")


def test_missing_credentials_are_a_catalog_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CatalogError) as caught:
        Catalog("t", endpoint_url=NOWHERE).get_backup("01A")
    assert "credentials" in (caught.value.hint or "")


# --- what DynamoDB refuses ---


def test_a_table_that_is_not_there_is_named(aws: None) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog("mistyped").get_backup("01A")
    assert "mistyped" in caught.value.message
    assert (caught.value.detail or "").startswith("ResourceNotFoundException")
    assert "stack deployed" in (caught.value.hint or "")


def _answer(catalog: Catalog, status: int, code: str, message: str) -> None:
    """Let DynamoDB answer every call with an error."""
    body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}'.encode()

    class Raw:
        def stream(self, *_: object, **__: object) -> Any:
            yield body

    def send(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, HTTPHeaders(), Raw())

    client: Any = catalog._table._connection.connection.client
    client.meta.events.register_first("before-send.dynamodb.*", send)


def test_a_role_without_the_right_is_told_which_one(catalog: Catalog, new_backup: NewBackup) -> None:
    _answer(catalog, 400, "AccessDeniedException", "User: x is not authorized")
    with pytest.raises(CatalogError) as caught:
        catalog.create_backup(new_backup())
    assert "dynamodb:PutItem" in (caught.value.hint or "")
    assert "AccessDeniedException: User: x is not authorized" in (caught.value.detail or "")
    with pytest.raises(CatalogError) as caught:
        next(catalog.backups())
    assert "dynamodb:Query" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (400, "ProvisionedThroughputExceededException"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ],
)
def test_a_table_that_is_busy_is_a_catalog_error_after_a_few_attempts(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    _answer(catalog, status, code, "slow down")
    with pytest.raises(CatalogError) as caught:
        catalog.get_backup("01A")
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    assert (caught.value.detail or "").startswith(code)
    assert len(waits) == 3
    assert sum(waits) < 8


def test_a_failing_page_in_the_middle_of_a_listing_is_a_catalog_error(catalog: Catalog, new_backup: NewBackup) -> None:
    for _ in range(101):
        catalog.create_backup(new_backup())
    listing = catalog.backups()
    next(listing)
    _answer(catalog, 400, "AccessDeniedException", "no more")
    with pytest.raises(CatalogError):
        list(listing)


# --- items that were changed by hand ---


def _change(raw_table: Any, backup: Backup, attribute: str, value: Any) -> None:
    """Set an attribute of a backup's item, or remove it (None)."""
    item = raw_table.get_item(Key={"pk": "BACKUP", "sk": backup.id})["Item"]
    raw_table.put_item(Item={key: kept for key, kept in {**item, attribute: value}.items() if kept is not None})


def test_an_item_without_an_attribute_that_it_needs_is_named(
    catalog: Catalog, new_backup: NewBackup, raw_table: Any
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    _change(raw_table, backup, "target", None)
    calls: list[Callable[[], Backup]] = [lambda: catalog.get_backup(backup.id), lambda: next(catalog.backups())]
    for call in calls:
        with pytest.raises(IntegrityError) as caught:
            call()
        assert caught.value.code == "RECORD_DAMAGED"
        assert backup.id in caught.value.message
        assert "target" in (caught.value.detail or "")


def test_an_item_with_an_attribute_of_another_type_is_named(
    catalog: Catalog, new_backup: NewBackup, raw_table: Any
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    _change(raw_table, backup, "progress", "half")
    with pytest.raises(IntegrityError) as caught:
        catalog.get_backup(backup.id)
    assert backup.id in caught.value.message
    assert "progress" in (caught.value.detail or "")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("status", "DONE"), ("tiers", {"YEARLY"}), ("created_at", "yesterday"), ("rows", "many"), ("tiers", None)],
)
def test_an_item_with_a_value_that_nobody_wrote_is_named(
    catalog: Catalog, new_backup: NewBackup, raw_table: Any, attribute: str, value: Any
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    _change(raw_table, backup, attribute, value)
    with pytest.raises(IntegrityError) as caught:
        catalog.get_backup(backup.id)
    assert caught.value.code == "RECORD_DAMAGED"


def test_a_lock_without_an_owner_is_named(catalog: Catalog, raw_table: Any, now: datetime) -> None:
    raw_table.put_item(Item={"pk": "LOCK", "sk": "shop"})
    with pytest.raises(IntegrityError) as caught:
        catalog.locks.acquire("shop", "01A", now, stale_after=timedelta(minutes=1))
    assert "LOCK / shop" in caught.value.message


def test_an_attribute_of_a_later_version_is_ignored(catalog: Catalog, new_backup: NewBackup, raw_table: Any) -> None:
    backup = new_backup(status=Status.COMPLETED)
    catalog.create_backup(backup)
    _change(raw_table, backup, "from_the_future", {"a": [1]})
    assert catalog.get_backup(backup.id) == backup


def test_a_time_without_a_zone_is_never_stored(catalog: Catalog, new_backup: NewBackup, now: datetime) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        catalog.create_backup(new_backup(id="01A", started_at=now.replace(tzinfo=None)))
    with pytest.raises(BackupStateError):
        catalog.get_backup("01A")


@pytest.mark.parametrize(
    ("record", "item"), [(Backup, BackupItem), (Restore, RestoreItem), (Progress, ProgressMap), (Failure, FailureMap)]
)
def test_every_field_of_a_record_has_its_attribute(record: type[BaseModel], item: type[AttributeContainer]) -> None:
    assert set(record.model_fields) - {"id"} <= set(item.get_attributes())
