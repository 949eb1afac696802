"""Moto's DynamoDB, sooner: a request without a web server's objects, and expressions that are read once.

Both take moto's own way; only what it computes again for each request or each node of an expression is left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlparse

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.utils import utcnow
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.parsing import ast_nodes, expressions, validators
from moto.dynamodb.responses import DynamoHandler
from moto.iam.models import mark_account_as_visited
from moto.utilities.utils import get_partition
from tests.quick_wire import processed
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

ADDRESS: Final = re.compile(r"https://dynamodb\.([a-z0-9-]+)\.amazonaws\.com/")
# Moto gives these modules no types.
Node: Final[Any] = vars(ast_nodes)["Node"]
_WITH_CLAUSES: Final[Any] = tuple(vars(ast_nodes)[name] for name in ("Expression", "UpdateExpressionFunction"))
DepthFirstTraverser: Final[Any] = vars(ast_nodes)["DepthFirstTraverser"]
ActionCountValidator: Final[Any] = vars(validators)["ActionCountValidator"]
UpdateExpressionParser: Final[Any] = vars(expressions)["UpdateExpressionParser"]
_find_clauses = vars(Node)["find_clauses"]
_make = vars(UpdateExpressionParser)["make"].__func__
_lex = vars(ConditionExpressionParser)["_lex_condition_expression"]
# Which class of a traverser's map is for nodes of a type; None: the node stays as it is.
_classes: dict[tuple[type, type], type | None] = {}
_nodes: dict[type, bool] = {}
_parents: dict[type, bool] = {}


def read_expressions_once(patch: pytest.MonkeyPatch) -> None:
    """Read an expression once, copy its tree without a memory, and find what processes a node by the type of it."""
    patch.setattr(UpdateExpressionParser, "make", staticmethod(_read))
    patch.setattr(ConditionExpressionParser, "_lex_condition_expression", _lexed)
    patch.setattr(Node, "__deepcopy__", _copied_node, raising=False)
    patch.setattr(Node, "find_clauses", _clauses)
    patch.setattr(DepthFirstTraverser, "traverse", _traverse)
    # The root counts the clauses of the whole tree; moto has each node count those below it too.
    patch.setattr(ActionCountValidator, "traverse", ActionCountValidator.verify_action_counts)


@cache
def _read(expression: str) -> Any:
    """Return the tree of an expression, which moto copies before it changes anything."""
    return _make(UpdateExpressionParser, expression)


def _lexed(parser: Any) -> deque[Any]:
    """Return the words of a condition, whose names and values moto puts in afterwards."""
    return deque(word._replace(children=[]) for word in _words(parser.condition_expression))


@cache
def _words(condition: str) -> tuple[Any, ...]:
    return tuple(_lex(ConditionExpressionParser(condition, None, None)))


def _copied_node(node: Any, memo: dict[int, Any]) -> Any:
    twin = object.__new__(type(node))
    twin.__dict__.update(node.__dict__, parent=None)
    if node.children is not None:
        twin.children = [_copied_node(one, memo) if _is_node(one) else one for one in node.children]
        for one in twin.children:
            if _is_node(one):
                one.parent = twin
    return twin


def _is_node(value: Any) -> bool:
    """Answer once for each type: an abstract class is slow to say what its instances are."""
    kind = type(value)
    if kind not in _nodes:
        _nodes[kind] = issubclass(kind, Node)
    return _nodes[kind]


def _clauses(node: Any, wanted: Sequence[type]) -> list[Any]:
    """Find the nodes of some types among those below, but not below them; whose children count is known by type."""
    found: list[Any] = []
    for child in node.children or ():
        kind = type(child)
        if kind in wanted:
            found.append(child)
            continue
        if kind not in _parents:
            _parents[kind] = issubclass(kind, _WITH_CLAUSES)
        if _parents[kind]:
            found += _clauses(child, wanted)
    return found


def _traverse(traverser: Any, node: Any) -> Any:
    prepare = type(traverser).pre_processing_of_child
    prepare = None if prepare is DepthFirstTraverser.pre_processing_of_child else traverser.pre_processing_of_child
    return _traversed(traverser, prepare, traverser._processing_map(), node)


def _traversed(traverser: Any, prepare: Any, work: dict[type, Any], node: Any, number: int = -1) -> Any:
    """Process the nodes of a tree, children first; what comes of a node takes its place."""
    parent = node.parent
    for at, child in enumerate(node.children or ()):
        if prepare:
            prepare(node, at)
        if _is_node(child):
            _traversed(traverser, prepare, work, child, at)
    kind = (type(traverser), type(node))
    if kind not in _classes:
        _classes[kind] = next((one for one in work if isinstance(node, one)), None)
    if (found := _classes[kind]) is not None:
        node = work[found](node)
        node.parent = parent
        if parent:
            parent.children[number] = node
    return node


def answer_without_web(patch: pytest.MonkeyPatch) -> None:
    """Let the handler of DynamoDB take requests as botocore makes them: all have one address and a body of JSON."""
    patch.setattr(BotocoreStubber, "process_request", _processed)


def _processed(stubber: BotocoreStubber, request: AWSPreparedRequest) -> Any:
    address = ADDRESS.fullmatch(request.url)
    if address is None:
        return processed(stubber, request)
    try:
        return _handler(request, address[1]).call_action()
    except HTTPException as error:
        return error.code, error.get_headers(), error.get_body()


def _handler(request: AWSPreparedRequest, region: str) -> Any:
    """Return a handler with what `BaseResponse.setup_class` makes of a request."""
    handler: Any = DynamoHandler()
    body = request.body or b""
    headers = HTTPHeaders()
    sent: Any = request.headers
    for name, value in sent.items():
        headers[name] = value.decode() if isinstance(value, bytes) else value
    web = {"method": request.method, "headers": headers, "values": {}, "path": "/"}
    web |= {"data": body, "content_type": headers.get("Content-Type")}
    handler.normalized_request, handler.headers = SimpleNamespace(**web), headers
    handler.method, handler.uri, handler.parsed_url = request.method, request.url, urlparse(request.url)
    handler.path = handler.raw_path = "/"
    handler.querystring = handler.data = handler.form_data = handler.uri_match = {}
    handler.raw_body = handler.body = body
    handler.is_werkzeug_request = False
    handler.region, handler.partition = region, get_partition(region)
    handler.response_headers = {"server": "amazon.com", "date": http_date(utcnow())}
    handler.parse_parameters(handler.normalized_request)
    handler.access_key, handler.current_account = handler.get_access_key(), handler.get_current_account()
    mark_account_as_visited(
        account_id=handler.current_account, access_key=handler.access_key, service="dynamodb", region=region
    )
    return handler
