"""The table: its definition, the connection to it, and the one place where errors of DynamoDB become Coffre's.

Everything above this module sees three things: raw items, `ConditionFailedError` (which stays inside the package) and
`CatalogError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from pynamodb.constants import ITEM
from pynamodb.exceptions import PynamoDBException, VerboseClientError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from coffre.catalog.connection import connect
from coffre.catalog.items import BY_STATUS, BY_TARGET, Item
from coffre.model.errors import CatalogError

PAGE_SIZE: Final = 100  # Items a call returns: records are about 1 KB, so a page is far below DynamoDB's 1 MB.

INDEX_KEYS: Final[Mapping[str, str]] = {BY_TARGET: "target_key", BY_STATUS: "status_key"}
"""Index name -> its partition key. The sort key is `sk` everywhere."""

type RawItem = dict[str, dict[str, Any]]

_HINTS: Final[Mapping[str, str]] = {
    "ResourceNotFoundException": "Is the stack deployed in this account and region, and is this its table's name?",
    "AccessDeniedException": "The function's role needs dynamodb:{call} on the table and on its indexes.",
    "UnrecognizedClientException": "The AWS credentials are not valid here: sign in again.",
    "ExpiredTokenException": "The AWS credentials have expired: sign in again.",
    "ValidationException": "The table's keys or indexes are not those of this version: deploy the stack again.",
    "ThrottlingException": "DynamoDB is limiting this table: the run can be repeated in a minute.",
    "ProvisionedThroughputExceededException": "DynamoDB is limiting this table: is it still pay per request?",
}
_CONTENDED: Final = frozenset(
    {"ConditionalCheckFailedException", "TransactionConflictException", "TransactionInProgressException"}
)
_CONTENDED_REASONS: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_HINT_UNREACHABLE: Final = (
    "Check the route to DynamoDB: a function in a VPC needs a gateway endpoint for it; "
    "AWS_ENDPOINT_URL must be right if it is set."
)


def table_definition() -> dict[str, Any]:
    """Return keys, indexes and billing in the words of `CreateTable` and of `AWS::DynamoDB::Table`.

    `template.yaml` declares the same; a test compares the two.
    """
    return {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", *INDEX_KEYS.values())
        ],
        "KeySchema": _key_schema("pk"),
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": _key_schema(key), "Projection": {"ProjectionType": "ALL"}}
            for index, key in INDEX_KEYS.items()
        ],
    }


class ConditionFailedError(Exception):
    """The item is not in the state that the write expected.

    `repeated` says that the call was sent more than once: then an attempt whose answer was lost may have been the one
    that changed the item.
    """

    def __init__(self, *, repeated: bool) -> None:
        super().__init__("The condition of a write was not met.")
        self.repeated = repeated


@dataclass(frozen=True)
class ItemQuery:
    """What to list: a partition of the table or of an index, narrowed by a range of `sk` and a filter.

    Newest first: by `sk` from the last to the first, unless `oldest_first`. `page` is how many items a call looks at;
    None: as many as fit into 1 MB.
    """

    partition: str
    index: str | None = None
    keys: Condition | None = None
    where: Condition | None = None
    oldest_first: bool = False
    page: int | None = PAGE_SIZE


class DynamoTable:
    """One table. The client is made on the first call; endpoints in the environment count as they do for boto3."""

    def __init__(
        self,
        name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: botocore.session.Session | None = None,
    ) -> None:
        self.name = name
        definition = table_definition()
        self._connection = connect(name, definition, region=region, endpoint_url=endpoint_url, session=session)

    def get(self, partition: str, sort: str) -> RawItem | None:
        """Return an item as it is at this instant (consistent read), or None."""
        with self._translated("GetItem"):
            answer = self._connection.get_item(partition, range_key=sort, consistent_read=True)
        item: RawItem | None = answer.get("Item")
        return item

    def put(self, item: Item, condition: Condition | None = None) -> None:
        """Write a whole item."""
        attributes = item.serialize()
        del attributes["pk"], attributes["sk"]
        with self._translated("PutItem"):
            self._connection.put_item(item.pk, range_key=item.sk, attributes=attributes, condition=condition)

    def update(self, partition: str, sort: str, actions: Sequence[Action], condition: Condition) -> RawItem:
        """Change an item and return it as it is then."""
        with self._translated("UpdateItem"):
            answer = self._connection.update_item(
                partition, range_key=sort, actions=actions, condition=condition, return_values="ALL_NEW"
            )
        item: RawItem = answer["Attributes"]
        return item

    def insert_and_update(
        self, item: Item, partition: str, sort: str, actions: Sequence[Action], condition: Condition, *, token: str
    ) -> None:
        """Write a new item and change another, both or neither.

        Parameters
        ----------
        token
            At most 36 characters. The same call with the same token within ten minutes is done once.

        Raises
        ------
        ConditionFailedError
            The item exists, the other is not as expected, or another transaction is changing them at this moment.
        """
        attributes = item.serialize()
        del attributes["pk"], attributes["sk"]
        build = self._connection.get_operation_kwargs
        put = build(item.pk, range_key=item.sk, key=ITEM, attributes=attributes, condition=Item.pk.does_not_exist())
        update = build(partition, range_key=sort, actions=actions, condition=condition)
        with self._translated("TransactWriteItems", needs="PutItem and dynamodb:UpdateItem"):
            self._connection.connection.transact_write_items(
                (), (), put_items=[put], update_items=[update], client_request_token=token
            )

    def delete(self, partition: str, sort: str, condition: Condition) -> None:
        """Remove an item."""
        with self._translated("DeleteItem"):
            self._connection.delete_item(partition, range_key=sort, condition=condition)

    def query(self, listing: ItemQuery) -> Iterator[RawItem]:
        """Yield items, one page in memory.

        The table itself is read consistently; an index may be a moment behind.
        """
        start = None
        while True:
            page = self._query(listing, start)
            yield from page["Items"]
            start = page.get("LastEvaluatedKey")
            if start is None:
                return

    def page(self, listing: ItemQuery, start: RawItem | None = None) -> tuple[list[RawItem], RawItem | None]:
        """Return what one call finds, and the key of the last item that it looked at; None: it saw all.

        `start` is the key that the call before has returned.
        """
        page = self._query(listing, start)
        return page["Items"], page.get("LastEvaluatedKey")

    def _query(self, listing: ItemQuery, start: RawItem | None) -> Any:
        with self._translated("Query"):
            return self._connection.query(
                listing.partition,
                range_key_condition=listing.keys,
                filter_condition=listing.where,
                index_name=listing.index,
                consistent_read=listing.index is None,
                exclusive_start_key=start,
                limit=listing.page,
                scan_index_forward=listing.oldest_first,
            )

    @contextmanager
    def _translated(self, call: str, *, needs: str | None = None) -> Iterator[None]:
        try:
            yield
        except (PynamoDBException, BotoCoreError, ClientError) as error:
            cause = error.cause if isinstance(error, PynamoDBException) and error.cause else error
            if isinstance(cause, ClientError) and _is_contended(cause):
                raise ConditionFailedError(repeated=_attempts(cause) > 1) from error
            raise self._error(call, needs or call, cause) from error

    def _error(self, call: str, needs: str, cause: Exception) -> CatalogError:
        if isinstance(cause, ClientError):
            code = _code(cause)
            detail = f"{code}: {cause.response.get('Error', {}).get('Message', '')}".rstrip(": ")
            hint = _HINTS.get(code, "The run can be repeated; if it fails again, see the AWS Health Dashboard.")
        else:
            detail = f"{type(cause).__name__}: {cause}"
            hint = _HINT_UNREACHABLE
        if isinstance(cause, NoCredentialsError | NoRegionError):
            hint = "Set AWS credentials and a region (AWS_PROFILE, AWS_REGION)."
        return CatalogError(
            f'The catalog table "{self.name}" did not answer {call}.', detail=detail, hint=hint.format(call=needs)
        )


def _key_schema(partition_key: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition_key, "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "UnknownError")


def _is_contended(error: ClientError) -> bool:
    """Return whether a condition was not met, or another transaction was faster."""
    if _code(error) != "TransactionCanceledException":
        return _code(error) in _CONTENDED
    reasons = error.cancellation_reasons if isinstance(error, VerboseClientError) else []
    return any(reason is not None and reason.code in _CONTENDED_REASONS for reason in reasons)


def _attempts(error: ClientError) -> int:
    # pynamodb raises a ClientError of its own, which keeps only the error; botocore's is its cause.
    original = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    return 1 + original.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
