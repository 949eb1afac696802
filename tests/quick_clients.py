"""Clients of AWS as boto makes them, sooner: what depends on a service alone is made once, not for each client.

Making a session with a client takes longer than the calls that most tests make with it. Clients share only what none
changes: the descriptions of services and their models, the functions of their operations, the rules of endpoints.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import Any

import botocore.handlers
import botocore.hooks
import botocore.httpsession
import botocore.loaders
import botocore.regions
import botocore.session
import pytest
from botocore.client import ClientCreator
from botocore.endpoint_provider import EndpointProvider
from botocore.hooks import EventAliaser, HierarchicalEmitter, NodeList
from botocore.model import ServiceModel
from botocore.session import Session
from botocore.useragent import UserAgentString

_Trie: Any = vars(botocore.hooks)["_PrefixTrie"]
_MIDDLE: int = vars(botocore.hooks)["_MIDDLE"]
_append_item, _remove_item = _Trie.append_item, _Trie.remove_item
_create_context = vars(botocore.httpsession)["create_urllib3_context"]
_accepts_kwargs = vars(botocore.hooks)["accepts_kwargs"]
_alias_event_name = vars(EventAliaser)["_alias_event_name"]
_create_methods = vars(ClientCreator)["_create_methods"]
_load_service_model = vars(ClientCreator)["_load_service_model"]
_get_scoped_config = vars(Session)["get_scoped_config"]
_register_builtin_handlers = vars(Session)["_register_builtin_handlers"]

_aliases: dict[str, str] = {}
# Which handlers every new session gets, and all of them in their places. Moto adds one.
_builtin: list[tuple[Sequence[object], Any]] = []
_models: dict[tuple[botocore.loaders.Loader, str, str | None], ServiceModel] = {}
_methods: dict[ServiceModel, dict[str, Any]] = {}
# With the rules, so that their identity stays theirs.
_providers: dict[tuple[int, int, frozenset[str]], tuple[EndpointProvider, Any, Any]] = {}


def make_clients_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let all sessions share what is the same for each of them."""
    patch.setattr(botocore.session, "create_loader", _loader)
    patch.setattr(botocore.hooks, "accepts_kwargs", _accepts)
    patch.setattr(Session, "_register_builtin_handlers", _register_builtin)
    patch.setattr(botocore.httpsession, "create_urllib3_context", _LateContext)
    patch.setattr(Session, "get_scoped_config", _scoped_config)
    patch.setattr(_Trie, "__copy__", _shared)
    patch.setattr(_Trie, "append_item", _append)
    patch.setattr(_Trie, "remove_item", _remove)
    patch.setattr(UserAgentString, "to_string", lambda _: "Boto3/tests")  # which takes longer than to sign a request
    patch.setattr(EventAliaser, "_alias_event_name", _alias)
    patch.setattr(ClientCreator, "_load_service_model", _model)
    patch.setattr(ClientCreator, "_create_methods", _methods_of)
    patch.setattr(botocore.regions, "EndpointProvider", _provider)


@cache
def _loader(data_path: str | None = None) -> botocore.loaders.Loader:
    return botocore.loaders.create_loader(data_path)


def _accepts(handler: Any) -> Any:
    """Answer from the code of a handler; the way by its signature is a third of what a session takes."""
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code.co_flags & inspect.CO_VARKEYWORDS if code else _accepts_kwargs(handler)


def _shared(trie: Any) -> Any:
    """Copy the handlers of events when they are changed: each client gets all of its session's, and adds a few."""
    twin = _Trie()
    twin._root, twin.is_shared = trie._root, True
    trie.is_shared = True
    return twin


def _register_builtin(session: Any, events: Any) -> None:
    """Give a new session the handlers that the one before it got."""
    emitter: Any = session._original_handler
    kind, wanted = type(emitter), list(botocore.handlers.BUILTIN_HANDLERS)
    if kind is not HierarchicalEmitter or vars(emitter._handlers) != vars(_Trie()):
        _register_builtin_handlers(session, events)  # into handlers that a test has made
    elif _builtin and _builtin[0][0] == wanted:
        emitter._handlers = copy(_builtin[0][1])
    else:
        _register_builtin_handlers(session, events)
        _builtin[:] = [(wanted, copy(emitter._handlers))]


class _LateContext:
    """A context of TLS that is made when something asks for it: three are made for a client, and moto needs none."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        vars(self)["_make"] = cache(lambda: _create_context(*arguments, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_make"](), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(vars(self)["_make"](), name, value)


def _scoped_config(session: Any) -> dict[str, Any]:
    """Return what the file of the configuration says, where it was read; a client asks for it fifty times."""
    found, chosen = session._profile_map, session._session_instance_vars.get("profile")
    if found is None or chosen or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"):
        read: dict[str, Any] = _get_scoped_config(session)
        return read
    default: dict[str, Any] = found.get("default", {})
    return default


def _append(trie: Any, key: str, value: Any, section: int = _MIDDLE) -> None:
    """Append a handler, of handlers that are shared to a copy of the nodes that lead to it."""
    if not hasattr(trie, "is_shared"):
        _append_item(trie, key, value, section)
        return
    node = trie._root = dict(trie._root)
    for part in key.split("."):
        children = node["children"] = dict(node["children"])
        node = children[part] = dict(children.get(part) or {"chunk": part, "values": None, "children": {}})
    found = node["values"] or NodeList([], [], [])
    node["values"] = NodeList(found.first[:], found.middle[:], found.last[:])
    node["values"][section].append(value)


def _remove(trie: Any, key: str, value: Any) -> None:
    """Remove a handler, which hardly any client does, from a copy of all."""
    trie._root = trie._recursive_copy(trie._root)
    _remove_item(trie, key, value)


def _alias(emitter: EventAliaser, name: str) -> str:
    return _aliases.get(name) or _aliases.setdefault(name, _alias_event_name(emitter, name))


def _model(creator: ClientCreator, service: str, api_version: str | None = None) -> ServiceModel:
    key = (vars(creator)["_loader"], service, api_version)
    return _models.get(key) or _models.setdefault(key, _load_service_model(creator, service, api_version))


def _methods_of(creator: ClientCreator, model: ServiceModel) -> dict[str, Any]:
    """Give the functions in a dictionary of its own: sessions add theirs to it."""
    if model not in _methods:
        _methods[model] = _create_methods(creator, model)
    return dict(_methods[model])


def _provider(ruleset_data: Any, partition_data: Any, excluded_params: set[str] | None = None) -> Any:
    key = (id(ruleset_data), id(partition_data), frozenset(excluded_params or ()))
    if key not in _providers:
        provider = EndpointProvider(ruleset_data, partition_data, excluded_params)
        _providers[key] = (provider, ruleset_data, partition_data)
    return _providers[key][0]
