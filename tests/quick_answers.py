"""The answers of moto, sooner: the same bytes by shorter ways, and one request after another.

A test of a function makes some hundred calls, and most of its time went into what moto computes again for each of them.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from copy import copy, deepcopy
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import botocore.parsers
import moto.core.models
import moto.core.parse
import moto.core.responses
import moto.s3.urls
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.core.base_backend import BaseBackend
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.moto_api._internal.moto_random import MotoRandom
from moto.s3.models import S3Backend
from moto.s3.responses import S3Response
from moto.sns.models import Subscription

_ITEM_LIMIT = 405_000  # moto's own
_measure_and_set = vars(LimitedSizeDict)["__setitem__"]
_measure = vars(DynamoType)["size"]
_urls = vars(BaseBackend)["urls"].fget
_has_subdomain = vars(S3Response)["subdomain_based_buckets"].__func__
_reloaded_urls = vars(S3Backend)["_url_module"].fget
_urls_of: dict[tuple[type, str | None], dict[str, Any]] = {}


def answer_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let moto keep what it would compute for each call, and take the values of DynamoDB as they are."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    patch.setattr(Subscription, "private_key", lambda _: key)
    patch.setattr(moto.core.models, "RESPONSES_METHODS", [])  # addresses for `requests`, by which no test asks AWS
    patch.setattr(BaseBackend, "urls", property(_urls_once))
    patch.setattr(S3Response, "subdomain_based_buckets", staticmethod(_is_named_by_host))
    patch.setattr(moto.core.responses, "method_names_from_class", cache(method_names_from_class))
    patch.setattr(MotoRandom, "get_random_string", _random_string)
    _take_values_as_they_are(patch)
    patch.setattr(Item, "__init__", _fill_item)
    patch.setattr(LimitedSizeDict, "__setitem__", _set_attribute)
    patch.setattr(DynamoType, "size", _measured)
    patch.setattr(Item, "__deepcopy__", _copied_item)
    patch.setattr(Table, "__deepcopy__", _copied_table, raising=False)


def answer_one_at_a_time(patch: pytest.MonkeyPatch, lock: threading.RLock | None = None) -> None:
    """Make the played AWS atomic, as the real one is: moto looks and writes in two steps.

    Threads found items that had no fields yet, both of two conditional writes held, and listings ended with an error.
    """
    lock, process = lock or threading.RLock(), BotocoreStubber.process_request

    def processed(stubber: BotocoreStubber, request: Any) -> Any:
        if hasattr(request.body, "read"):  # what fills a body may wait for the answer to another request
            request.body = request.body.read()
        with lock:
            return process(stubber, request)

    patch.setattr(BotocoreStubber, "process_request", processed)


def _urls_once(backend: BaseBackend) -> dict[str, Any]:
    """Read the addresses of a service once; moto reads the module of S3's again for each request."""
    key = (type(backend), os.environ.get("MOTO_S3_CUSTOM_ENDPOINTS"))
    return _urls_of.get(key) or _urls_of.setdefault(key, _urls(backend))


def _is_named_by_host(request: Any) -> bool:
    """Look at a host once; moto has twelve expressions for it, and asks six times for each request."""
    host = request.headers.get("host", request.headers.get("Host")) or urlparse(request.url).netloc
    return _is_host_of_bucket(host, os.environ.get("MOTO_S3_CUSTOM_ENDPOINTS"))


@cache
def _is_host_of_bucket(host: str, endpoints: str | None) -> bool:
    found: bool = _has_subdomain(SimpleNamespace(headers={"host": host}, url=""))
    return found


def _random_string(random: MotoRandom, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pool = letters + letters.upper() + ("0123456789" if include_digits else "")
    chosen = "".join(random.choices(pool, k=length))
    return chosen.lower() if lower_case else chosen


def _take_values_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """Skip the walk through all ten members of each value of DynamoDB, whose wire form is what code works with."""
    serialize = vars(BaseJSONSerializer)["_serialize_type_structure"]

    @wraps(serialize)
    def serialized(serializer: BaseJSONSerializer, into: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and _is_plain(value):
            serializer._default_serialize(into, value, shape, key)
        else:
            serialize(serializer, into, value, shape, key)

    patch.setattr(BaseJSONSerializer, "_serialize_type_structure", serialized)
    for parser, name in (
        (moto.core.parse.BaseJSONParser, "_parse_structure"),
        (botocore.parsers.BaseJSONParser, "_handle_structure"),
    ):
        patch.setattr(parser, name, _unless_plain(vars(parser)[name]))


def _unless_plain(parse: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(parse)
    def parsed(parser: object, shape: Any, value: Any) -> Any:
        return value if shape.name == "AttributeValue" and _is_plain(value) else parse(parser, shape, value)

    return parsed


def _is_plain(value: Any) -> bool:
    """Tell whether a value has nothing to convert: binary values have, and what is no value is for moto to refuse."""
    if type(value) is not dict or len(value) != 1:
        return False
    [(kind, held)] = value.items()
    match kind:
        case "S" | "N":
            return type(held) is str
        case "BOOL" | "NULL":
            return type(held) is bool
        case "M":
            return type(held) is dict and all(map(_is_plain, held.values()))
        case "L":
            return type(held) is list and all(map(_is_plain, held))
    return False


def _fill_item(item: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
    """Look once whether an item is too large, not for each of its attributes."""
    item.hash_key, item.range_key = hash_key, range_key
    item.attrs = LimitedSizeDict()
    for key, value in attrs.items():
        dict.__setitem__(item.attrs, key, DynamoType(value))
    if item.size() > _ITEM_LIMIT:
        raise ItemSizeTooLarge


def _set_attribute(attributes: LimitedSizeDict, key: str, value: Any) -> None:
    """Measure all attributes of an item only when it may be too large by what was set since they were measured."""
    grown = vars(attributes).get("grown", _ITEM_LIMIT) + len(key.encode()) + _size_of(value)
    if grown > _ITEM_LIMIT // 2:
        _measure_and_set(attributes, key, value)
        grown = sum(map(_size_of, (*attributes.keys(), *attributes.values())))
    else:
        dict.__setitem__(attributes, key, value)
    vars(attributes)["grown"] = grown


def _size_of(value: Any) -> int:
    return value.size() if type(value) is DynamoType else len(str(value).encode())


def _measured(value: DynamoType) -> int:
    """Measure a value where it is: moto copies each member of a map, with all that is in it, to measure it."""
    held = value.value
    match value.type:
        case "S":
            return len(held.encode())
        case "M":
            members = (one if type(one) is DynamoType else DynamoType(one) for one in held.values())
            return sum(len(key.encode()) for key in held) + sum(map(_measured, members))
    size: int = _measure(value)
    return size


def _copied_item(item: Item, memo: dict[int, Any]) -> Item:
    twin = object.__new__(Item)
    twin.hash_key, twin.range_key, twin.attrs = _copied(item.hash_key), _copied(item.range_key), LimitedSizeDict()
    for key, value in item.attrs.items():
        dict.__setitem__(twin.attrs, key, _copied(value))
    return twin


def _copied(value: Any) -> Any:
    """Copy a value, which is a tree: `deepcopy` remembers each part, in case it comes again."""
    if type(value) is not DynamoType:
        return deepcopy(value)
    twin = object.__new__(DynamoType)
    twin.type, held = value.type, value.value
    if value.type == "L":
        held = [_copied(one) for one in held]
    elif value.type == "M":
        held = {key: _copied(one) for key, one in held.items()}
    elif value.type in ("SS", "NS", "BS"):
        held = list(held)
    twin.value = held
    return twin


def _copied_table(table: Table, memo: dict[int, Any]) -> Table:
    """Copy what a transaction may change: the items. Moto copies the table for each action of a transaction."""
    twin = copy(table)
    twin.items = defaultdict(dict)
    for hash_key, items in table.items.items():
        twin.items[hash_key] = {key: _copied_item(one, memo) for key, one in items.items()}
    return twin
