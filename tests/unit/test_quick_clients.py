"""Clients that are made by shorter ways are those that boto makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import botocore.endpoint
import botocore.session
import pytest
from botocore.configprovider import EnvironmentProvider
from botocore.exceptions import BotoCoreError
from tests import quick_clients


def test_clients_share_the_handlers_of_their_session_and_keep_changes_for_themselves() -> None:
    session = botocore.session.get_session()
    heard: list[str] = []

    def handler(name: str) -> Any:
        return lambda **_: heard.append(name)

    def say(emitter: Any) -> list[str]:
        heard.clear()
        emitter.emit("hello.s3.GetObject")
        return heard[:]

    of_session, own = handler("session"), handler("client")
    session.register("hello.s3", of_session)
    one, other = (session.create_client("s3", region_name="eu-west-3").meta.events for _ in range(2))
    one.register_first("hello.*.GetObject", own)
    session.register("hello", handler("later"))
    assert (say(one), say(other)) == (["client", "session"], ["session"])

    other.unregister("hello.s3", of_session)
    one.unregister("hello.*.GetObject", own)
    assert (say(one), say(other)) == (["session"], [])
    assert say(session.get_component("event_emitter")) == ["session", "later"]


def test_sessions_begin_with_the_same_handlers_and_keep_changes_for_themselves() -> None:
    def handlers(session: botocore.session.Session) -> list[Any]:
        emitter = session.get_component("event_emitter")
        found: list[Any] = list(vars(emitter)["_emitter"]._handlers.prefix_search("before-call.s3.PutObject"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session.Session, "_register_builtin_handlers", quick_clients._register_builtin_handlers)
        theirs = handlers(botocore.session.get_session())
    one = botocore.session.get_session()
    one.register("before-call.s3", lambda **_: None)
    other = botocore.session.get_session()
    assert handlers(other) == theirs
    assert len(handlers(one)) == len(theirs) + 1


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"},
        {"AWS_ACCESS_KEY_ID": "a"},
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_PROFILE": "mine"},
        {"AWS_PROFILE": "mine", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_MAX_ATTEMPTS": "7", "no_proxy": "a"},
        {"AWS_PROFILE": "none", "AWS_ENDPOINT_URL_S3": "http://a", "HTTPS_PROXY": "http://b"},
        {"AWS_ENDPOINT_URL_S3": "http://a", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"},
    ],
)
def test_clients_find_the_keys_and_settings_that_boto_would_find(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a user who has a configuration of their own, in files."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = d\naws_secret_access_key = e\n")
    (tmp_path / "config").write_text(
        "[profile mine]\nregion=eu-west-2\naws_access_key_id = f\naws_secret_access_key = g\n"
    )
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", **files, **environment}.items():
        monkeypatch.setenv(name, value)

    def found() -> list[object]:
        session = botocore.session.get_session()
        try:
            ways = [type(one) for one in session.get_component("credential_provider").providers]
            keys = session.get_credentials()
            client = session.create_client("s3")
        except BotoCoreError as error:
            return [type(error), str(error)]
        config, sends = vars(client.meta.config)["_user_provided_options"], vars(client)["_endpoint"].http_session
        seen = (client.meta.region_name, client.meta.endpoint_url, config, vars(sends._proxy_config)["_proxies"])
        return [ways, getattr(keys, "access_key", None), getattr(keys, "token", None), seen, sorted(dir(client))]

    def at_first() -> object:
        try:
            keys = botocore.session.get_session().get_credentials()
        except BotoCoreError as error:
            return type(error)
        return type(keys), getattr(keys, "method", None)

    ours = [found(), at_first()]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in (
            (botocore.session.Session, "_create_credential_resolver", quick_clients._create_credential_resolver),
            (botocore.session.Session, "get_scoped_config", quick_clients._get_scoped_config),
            (EnvironmentProvider, "provide", quick_clients._provide),
            (botocore.endpoint, "get_environ_proxies", quick_clients._get_environ_proxies),
        ):
            patch.setattr(owner, name, value)
        assert ours == [found(), at_first()]


def test_clients_have_a_class_of_their_own_where_who_listens_adds_to_it() -> None:
    def add(class_attributes: dict[str, Any], base_classes: list[type], **_: Any) -> None:
        class_attributes["added"] = len(base_classes)

    session, other = (botocore.session.get_session() for _ in range(2))
    listen: Any = session.register
    listen("creating-client-class.s3", add)
    clients: list[Any] = [it.create_client("s3", region_name="eu-west-3") for it in (session, other, other)]
    one, plain, twin = clients
    assert one.added == 1
    assert not hasattr(plain, "added")
    assert type(plain) is type(twin) is not type(one)
    assert plain.can_paginate("list_objects_v2")
