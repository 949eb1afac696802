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

import botocore.endpoint
import botocore.handlers
import botocore.hooks
import botocore.httpsession
import botocore.loaders
import botocore.regions
import botocore.session
import pytest
from botocore.client import BaseClient, ClientCreator
from botocore.configprovider import EnvironmentProvider
from botocore.credentials import CredentialResolver, EnvProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.hooks import EventAliaser, HierarchicalEmitter, NodeList
from botocore.model import ServiceModel
from botocore.session import Session
from botocore.useragent import UserAgentString
from botocore.utils import get_service_module_name

_Trie: Any = vars(botocore.hooks)["_PrefixTrie"]
_MIDDLE: int = vars(botocore.hooks)["_MIDDLE"]
_append_item, _remove_item = _Trie.append_item, _Trie.remove_item
_create_context = vars(botocore.httpsession)["create_urllib3_context"]
_get_environ_proxies = vars(botocore.endpoint)["get_environ_proxies"]
_accepts_kwargs = vars(botocore.hooks)["accepts_kwargs"]
_alias_event_name = vars(EventAliaser)["_alias_event_name"]
_create_name_mapping = vars(ClientCreator)["_create_name_mapping"]
_create_methods = vars(ClientCreator)["_create_methods"]
_load_service_model = vars(ClientCreator)["_load_service_model"]
_get_scoped_config = vars(Session)["get_scoped_config"]
_register_builtin_handlers = vars(Session)["_register_builtin_handlers"]
_create_credential_resolver = vars(Session)["_create_credential_resolver"]
_provide = vars(EnvironmentProvider)["provide"]

_aliases: dict[str, str] = {}
# Which handlers every new session gets, and all of them in their places. Moto adds one.
_builtin: list[tuple[Sequence[object], Any]] = []
_models: dict[tuple[botocore.loaders.Loader, str, str | None], ServiceModel] = {}
_methods: dict[ServiceModel, dict[str, Any]] = {}
_classes: dict[tuple[Any, ...], type] = {}
# With the rules, so that their identity stays theirs.
_providers: dict[tuple[int, int, frozenset[str]], tuple[EndpointProvider, Any, Any]] = {}


def make_clients_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let all sessions share what is the same for each of them."""
    patch.setattr(botocore.session, "create_loader", _loader)
    patch.setattr(botocore.hooks, "accepts_kwargs", _accepts)
    patch.setattr(Session, "_register_builtin_handlers", _register_builtin)
    patch.setattr(botocore.httpsession, "create_urllib3_context", _LateContext)
    patch.setattr(botocore.endpoint, "get_environ_proxies", _proxies)
    patch.setattr(Session, "get_scoped_config", _scoped_config)
    patch.setattr(Session, "_create_credential_resolver", _resolver)
    patch.setattr(EnvironmentProvider, "provide", _provided)
    patch.setattr(_Trie, "__copy__", _shared)
    patch.setattr(_Trie, "append_item", _append)
    patch.setattr(_Trie, "remove_item", _remove)
    patch.setattr(UserAgentString, "to_string", lambda _: "Boto3/tests")  # which takes longer than to sign a request
    patch.setattr(EventAliaser, "_alias_event_name", _alias)
    patch.setattr(ClientCreator, "_load_service_model", _model)
    patch.setattr(ClientCreator, "_create_methods", _methods_of)
    patch.setattr(ClientCreator, "_create_client_class", _client_class)
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
        vars(self).update(_arguments=arguments, _options=options)

    def __getattr__(self, name: str) -> Any:
        return getattr(_context(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_context(self), name, value)


def _context(late: _LateContext) -> Any:
    held = vars(late)
    if "_context" not in held:
        held["_context"] = _create_context(*held["_arguments"], **held["_options"])
    return held["_context"]


def _proxies(url: str) -> dict[str, str]:
    """Read which proxies the environment names, if a variable of it has such a name."""
    names_one = any(name[-6:].lower() == "_proxy" for name in os.environ)
    found: dict[str, str] = _get_environ_proxies(url) if names_one else {}
    return found


class _EnvironmentFirst(CredentialResolver):
    """Looks for credentials in the environment, and makes the other ways to find some when there are none in it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        if name != "providers":
            raise AttributeError(name)
        self.providers = _create_credential_resolver(self._session).providers
        return self.providers

    def load_credentials(self) -> Any:
        look: Any = super().load_credentials
        environment: Any = EnvProvider
        found = None if "providers" in vars(self) else environment().load()
        return look() if found is None else found


def _resolver(session: Any) -> Any:
    if session.instance_variables().get("profile") is not None or _has("AWS_PROFILE") or _has("AWS_DEFAULT_PROFILE"):
        return _create_credential_resolver(session)
    return _EnvironmentFirst(session)


@cache
def _encoded(name: str) -> bytes:
    return os.fsencode(name)


def _has(name: str, variables: Any = None) -> bool:
    """Tell whether there is a variable of the environment, which encodes each name that it is asked for."""
    variables = os.environ if variables is None else variables
    held = getattr(variables, "_data", None)
    return name in variables if held is None else _encoded(name) in held


def _provided(provider: Any) -> Any:
    """Read what the environment has; it has hardly any of the fifty variables that a client looks for."""
    return _provide(provider) if _has(provider._name, provider._env) else None


def _scoped_config(session: Any) -> dict[str, Any]:
    """Return what the file of the configuration says, where it was read; a client asks for it fifty times."""
    found, chosen = session._profile_map, session._session_instance_vars.get("profile")
    if found is None or chosen or _has("AWS_PROFILE") or _has("AWS_DEFAULT_PROFILE"):
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


def _client_class(creator: ClientCreator, service: str, model: ServiceModel) -> type:
    """Return the class of clients with the same methods and bases, those that who listens has added among them."""
    attributes = _methods_of(creator, model)
    bases: list[type] = [BaseClient]
    event = f"creating-client-class.{model.service_id.hyphenize()}"
    vars(creator)["_event_emitter"].emit(event, class_attributes=attributes, base_classes=bases)
    key = (model, *bases, *attributes.items())
    if key not in _classes:
        attributes["_PY_TO_OP_NAME"] = _create_name_mapping(creator, model)
        _classes[key] = type(get_service_module_name(model), tuple(bases), attributes)
    return _classes[key]


def _provider(ruleset_data: Any, partition_data: Any, excluded_params: set[str] | None = None) -> Any:
    key = (id(ruleset_data), id(partition_data), frozenset(excluded_params or ()))
    if key not in _providers:
        provider = EndpointProvider(ruleset_data, partition_data, excluded_params)
        _providers[key] = (provider, ruleset_data, partition_data)
    return _providers[key][0]
