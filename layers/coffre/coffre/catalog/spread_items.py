"""The items of spread backups."""

from __future__ import annotations

from pynamodb.attributes import (
    BooleanAttribute,
    NumberAttribute,
    UnicodeAttribute,
)

from coffre.catalog.items import FailureMap, Item, TimeAttribute


class EpochItem(Item):
    """`coffre.catalog.spread.Epoch`. `sk` is `<backup id>#epoch#<number>`. DynamoDB removes it after some days."""

    snapshot = UnicodeAttribute(null=True)
    holder = UnicodeAttribute(null=True)
    seen_at = TimeAttribute(null=True)
    expires_at = TimeAttribute(null=True)
    is_over = BooleanAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class GroupItem(Item):
    """`coffre.catalog.spread.GroupState`. `sk` is `<backup id>#group#<number>`. DynamoDB removes it after some days."""

    attempt = UnicodeAttribute(null=True)
    seen_at = TimeAttribute(null=True)
    done_bytes = NumberAttribute(null=True)
    done_tables = NumberAttribute(null=True)
    done_objects = NumberAttribute(null=True)
    current = UnicodeAttribute(null=True)
    is_over = BooleanAttribute(null=True)
    failure = FailureMap(null=True)  # type: ignore[no-untyped-call]
    expires_at_epoch = NumberAttribute(null=True)


class SealItem(Item):
    """Which invocation seals a spread backup. `sk` is `<backup id>#seal`. DynamoDB removes it after some days."""

    attempt = UnicodeAttribute(null=True)
    seen_at = TimeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)
