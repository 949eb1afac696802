"""Calls of the catalog to the played DynamoDB, sooner: what goes by no wire needs no form for one.

Between the catalog and moto's methods botocore builds a request, signs it and sends it through handlers of events, moto
takes it to pieces and puts an answer together, and botocore takes that to pieces: most of what such a call took. Here
the same method of moto gets a copy of the same parameters. An error goes the whole way, with the answer that it has
got, and so does every call that has a binary value or a listener, and of clients that do not go to the played AWS.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

import moto.core.models
import pytest
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.parsers import JSONParser
from botocore.validate import ParamValidationDecorator
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.exceptions import ServiceException
from moto.core.utils import utcnow
from moto.dynamodb.responses import DynamoHandler
from moto.iam.models import get_account_id_from, mark_account_as_visited
from moto.utilities.aws_headers import gen_amzn_requestid_long
from moto.utilities.utils import get_partition
from tests.quick_dynamodb import ADDRESS
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

_METHODS: Final[Mapping[str, str]] = {
    "CreateTable": "create_table",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "Query": "query",
    "TransactWriteItems": "transact_write_items",
}
# What somebody can listen to who wants to see or change a call.
_EVENTS: Final = (
    "provide-client-params", "before-parameter-build", "before-call", "request-created", "choose-signer",
    "before-sign", "before-send", "response-received", "needs-retry", "after-call", "after-call-error",
)  # fmt: skip
_LIBRARIES: Final = ("aws_lambda_powertools.", "botocore.", "moto.", "pynamodb.")
_JSON: Final = "application/x-amz-json-1.0"
_make_api_call = vars(BaseClient)["_make_api_call"]
_answered = threading.local()
"""The answer that a call has got already, while it goes the whole way."""


def call_without_wire(patch: pytest.MonkeyPatch, lock: threading.RLock) -> None:
    """Give calls of the catalog to moto's methods themselves, one after another by a lock that other requests take."""
    process = BotocoreStubber.process_request

    def called(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        request = _copied(parameters) if operation in _METHODS and _is_direct(client, operation) else None
        if request is None:
            return _make_api_call(client, operation, parameters)
        with lock:
            handler = _handler(client, operation, request)
            mark_account_as_visited(
                account_id=handler.current_account,
                access_key=handler.access_key,
                service="dynamodb",
                region=handler.region,
            )
            try:
                result = getattr(handler, _METHODS[operation])().result
            except (ServiceException, HTTPException) as error:
                refusal = _refusal(handler, operation, error)
            else:
                return _answer(client, operation, result)
        _answered.answer = refusal
        try:
            return _make_api_call(client, operation, parameters)
        finally:
            vars(_answered).clear()

    def processed(stubber: BotocoreStubber, request: Any) -> Any:
        if hasattr(_answered, "answer"):
            return vars(_answered).pop("answer")
        return process(stubber, request)

    patch.setattr(BaseClient, "_make_api_call", called)
    patch.setattr(BotocoreStubber, "process_request", processed)


def _is_direct(client: Any, operation: str) -> bool:
    """Tell whether a call is the catalog's, goes to the played AWS, and is of interest to its libraries alone."""
    meta = client.meta
    return (
        meta.service_model.service_name == "dynamodb"
        and not isinstance(client._serializer, ParamValidationDecorator)  # as pynamodb makes its clients
        and vars(moto.core.models)["botocore_stubber"].enabled
        and ADDRESS.fullmatch(f"{meta.endpoint_url}/") is not None
        and client._request_signer._credentials is not None
        and not _is_heard(meta.events, operation)
    )


def _is_heard(events: Any, operation: str) -> bool:
    """Tell whether somebody listens. The answer is kept with the handlers that botocore found, and goes with them."""
    emitter = vars(events)["_emitter"]
    found, key = emitter._lookup_cache, f"tests.{operation}"
    if key not in found:
        names = (f"{event}.dynamodb.{operation}" for event in _EVENTS)
        handlers = (handler for name in names for handler in emitter._handlers.prefix_search(name))
        found[key] = [handler for handler in handlers if not str(handler.__module__).startswith(_LIBRARIES)]
    return bool(found[key])


def _copied(parameters: Mapping[str, Any]) -> Any:
    """Return parameters as they come out of JSON; None if they have a form of their own there."""
    try:
        return json.loads(json.dumps(parameters))
    except TypeError:
        return None


def _handler(client: Any, operation: str, request: Any) -> Any:
    """Return what `BaseResponse.setup_class` makes of a request."""
    handler: Any = DynamoHandler()
    handler.params = handler.body = request
    handler.headers = HTTPHeaders()
    handler.headers["X-Amz-Target"] = f"DynamoDB_20120810.{operation}"
    handler.headers["Content-Type"] = _JSON
    handler.normalized_request = SimpleNamespace(content_type=_JSON, headers=handler.headers)
    handler.querystring = handler.data = handler.form_data = handler.uri_match = {}
    handler.region = client.meta.region_name
    handler.partition = get_partition(handler.region)
    handler.response_headers = {"server": "amazon.com", "date": http_date(utcnow())}
    handler.access_key = client._request_signer._credentials.access_key
    handler.current_account = get_account_id_from(handler.access_key)
    return handler


def _refusal(handler: Any, operation: str, error: Exception) -> Any:
    """Return what moto answers when its method raises an error, which is the one that it has raised."""

    def fail() -> None:
        raise error

    setattr(handler, _METHODS[operation], fail)
    call: Callable[[Any], Any] = DynamoHandler.call_action
    try:
        return call(handler)
    except HTTPException as escaped:
        return escaped.code, escaped.get_headers(), escaped.get_body()


def _reads(answer: Mapping[str, Any], operation: Any) -> dict[str, Any]:
    """Return what botocore reads of an answer: times, and no member that it does not know."""
    body = json.dumps(answer, default=lambda time: time.timestamp()).encode()
    read: dict[str, Any] = JSONParser().parse({"status_code": 200, "headers": {}, "body": body}, operation.output_shape)
    del read["ResponseMetadata"]
    return read


def _answer(client: Any, operation: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what botocore makes of an answer. Moto has made new values for it already."""
    members = client.meta.service_model.operation_model(operation).output_shape.members
    headers = {"server": "amazon.com", "date": http_date(utcnow()), "content-type": _JSON, "x-amz-crc32": "0"}
    request_id = gen_amzn_requestid_long(headers)
    about = {"RequestId": request_id, "HTTPStatusCode": 200, "HTTPHeaders": headers, "RetryAttempts": 0}
    answer = {name: value for name, value in result.items() if value is not None and name in members}
    if operation == "CreateTable":  # the one answer with more in it than items
        answer = _reads(answer, client.meta.service_model.operation_model(operation))
    return {**answer, "ResponseMetadata": about}
