"""Records to items and back. An item that was damaged by hand is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pynamodb.attributes import Attribute, MapAttribute, NumberAttribute, UnicodeSetAttribute
from pynamodb.constants import NULL

from coffre.catalog.items import Item
from coffre.catalog.tables import RawItem
from coffre.model.backup import Tier
from coffre.model.document import describe_validation
from coffre.model.errors import IntegrityError

type _Readers = tuple[tuple[str, str, Callable[[dict[str, Any]], Any]], ...]
"""Of each attribute: the field of the record, its name in items, and how it is read."""


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


@contextmanager
def reading(raw: RawItem) -> Iterator[None]:
    """Raise the error that names the item when what it has is not the record that the block makes of it."""
    try:
        yield
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error


def read_json[R: BaseModel](raw: RawItem, kind: type[Item], record: type[R], attribute: str = "record") -> R:
    """Return the record that an item has as JSON; raises what `read_item` raises."""
    text = getattr(read_item(raw, kind, required=(attribute,)), attribute)
    with reading(raw):
        return record.model_validate_json(text)


def readable[R](
    raws: Iterable[RawItem], read: Callable[[RawItem], R], damaged: list[IntegrityError] | None
) -> Iterator[R]:
    """Yield the records of raw items. A damaged one hides no other: it goes to `damaged`; without that it is raised."""
    for raw in raws:
        try:
            record = read(raw)
        except IntegrityError as error:
            if damaged is None:
                raise
            damaged.append(error)
        else:
            yield record


def read_record[R: BaseModel](raw: RawItem, kind: type[Item], record: type[R]) -> R:
    """Return the record of a raw item, whose `sk` is the record's id."""
    try:
        # Only what the record has, and no item of pynamodb for each: a page of the console reads hundreds of records.
        return record.model_validate({**_values_of(raw, _readers_of(kind, record)), "id": raw["sk"]["S"]})
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise damaged(raw, str(error)) from error


@cache
def _readers_of(kind: type[Item], record: type[BaseModel]) -> _Readers:
    return _readers(one for one in kind.get_attributes().items() if one[0] in record.model_fields)


def _readers(attributes: Iterable[tuple[str, Attribute[Any]]]) -> _Readers:
    return tuple((name, one.attr_name, _reader(one)) for name, one in attributes)


def _values_of(raw: RawItem, readers: _Readers) -> dict[str, Any]:
    found = {}
    for name, stored_as, read in readers:
        value = raw.get(stored_as)
        if value and NULL not in value:
            found[name] = read(value)
    return found


def _reader(attribute: Attribute[Any]) -> Callable[[dict[str, Any]], Any]:
    """Return how an attribute is read; what is of another type raises what pynamodb raises."""
    if isinstance(attribute, MapAttribute):
        inside = _readers(attribute.get_attributes().items())
        return lambda value: _values_of(attribute.get_value(value), inside)
    if isinstance(attribute, NumberAttribute):
        return lambda value: _number(attribute.get_value(value))
    if isinstance(attribute, UnicodeSetAttribute):
        return lambda value: sorted_tiers(attribute.get_value(value))
    return lambda value: attribute.deserialize(attribute.get_value(value))


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else json.loads(text)


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
