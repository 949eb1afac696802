"""Records to items and back. An item that was damaged by hand is an error that names it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pynamodb.attributes import Attribute, MapAttribute
from pynamodb.constants import NULL

from coffre.catalog.items import Item
from coffre.catalog.tables import RawItem
from coffre.model.backup import Tier
from coffre.model.document import describe_validation
from coffre.model.errors import IntegrityError


def read_item[I: Item](raw: RawItem, kind: type[I], required: tuple[str, ...] = ()) -> I:
    """Return the item of a raw one, which must have the required attributes.

    Raises
    ------
    IntegrityError
        `RECORD_DAMAGED`: an attribute is missing or has another type.
    """
    try:
        item = kind.from_raw_data(raw)
    except (TypeError, ValueError, AttributeError) as error:
        raise damaged(raw, str(error)) from error
    missing = [name for name in required if item.attribute_values.get(name) is None]
    if missing:
        raise damaged(raw, f"missing: {', '.join(missing)}")
    return item


def read_record[R: BaseModel](raw: RawItem, kind: type[Item], record: type[R]) -> R:
    """Return the record of a raw item, whose `sk` is the record's id."""
    fields: dict[str, Any] = {}
    try:
        # Only what the record has: an item of pynamodb for each of hundreds of records is most of a page's time.
        for name, stored_as, attribute in _attributes_of(kind, record):
            value = raw.get(stored_as)
            if value and NULL not in value:
                fields[name] = _plain(attribute.deserialize(attribute.get_value(value)))
        return record.model_validate({**fields, "id": raw["sk"]["S"]})
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise damaged(raw, str(error)) from error


@cache
def _attributes_of(kind: type[Item], record: type[BaseModel]) -> tuple[tuple[str, str, Attribute[Any]], ...]:
    return tuple(
        (name, one.attr_name, one) for name, one in kind.get_attributes().items() if name in record.model_fields
    )


def damaged(raw: RawItem, detail: str) -> IntegrityError:
    """Return the error for an item that no version of Coffre has written."""
    keys = " / ".join(raw.get(key, {}).get("S", "?") for key in ("pk", "sk"))
    return IntegrityError(
        f'The catalog\'s record "{keys}" is damaged.',
        code="RECORD_DAMAGED",
        detail=detail,
        hint="This item of the table was changed by hand: correct it there, or delete it.",
    )


def sorted_tiers(tiers: Iterable[str]) -> list[str]:
    """Return tiers in the order of `Tier`; a set in the store has none. Unknown ones are kept: reading refuses them."""
    order = [tier.value for tier in Tier]
    return sorted((str(tier) for tier in tiers), key=lambda tier: order.index(tier) if tier in order else len(order))


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted_tiers(value)
    return dict(value.attribute_values) if isinstance(value, MapAttribute) else value
