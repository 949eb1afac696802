"""The section `console`: what it refuses, so that no one gets in by a mistake of the document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.errors import ConfigurationError
from coffre.policy.configuration_change import changes

TRUST = {
    "name": "deploys",
    "forge": "github",
    "repository": "acme/shop",
    "repository_id": "1234",
    "owner_id": "77",
    "refs": ["refs/heads/main"],
    "targets": ["shop"],
}


def read(**console: Any) -> Configuration:
    whole = {
        "issuer": "https://login.example.com/",
        "client_id": "coffre",
        "roles": [{"group": "dba", "role": "admin"}],
        **console,
    }
    shop = {"name": "shop", "secret": "coffre/database/shop"}
    return parse_configuration(json.dumps({"encryption": "none", "targets": [shop], "console": whole}), where="a test")


def test_a_console_is_read() -> None:
    console = read(trust=[TRUST, {**TRUST, "name": "ci", "forge": "gitlab", "refs": [], "environments": ["x"]}]).console
    assert console is not None
    assert [one.signer for one in console.trust] == [
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
    ]
    assert read(issuer="http://127.0.0.1:4566/pool").console is not None


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ({"issuer": "http://login.example.com"}, "should be an https:// address"),
        ({"issuer": "https://a@login.example.com"}, "no user name"),
        ({"issuer": "https://login.example.com/?realm=1"}, "no query"),
        ({"issuer": "https://login.example.com/\u202e"}, "console.issuer"),
        ({"client_secret": "coffre/identity/main"}, "console.client_secret"),
        ({"roles": []}, "console.roles"),
        ({"roles": [{"group": "dba", "role": "root"}]}, "'viewer', 'operator', 'restorer' or 'admin'"),
        ({"roles": [{"group": "dba", "role": "viewer", "targets": ["nope"]}]}, "do not exist: nope"),
        ({"api_audience": "coffre"}, "ID token would open the API"),
        ({"trust": [{**TRUST, "refs": []}]}, "at least one of refs and environments"),
        ({"trust": [{**TRUST, "refs": ["main"]}]}, "console.trust[0].refs[0]"),
        ({"trust": [{**TRUST, "refs": ["refs/heads/*"]}]}, "console.trust[0].refs[0]"),
        ({"trust": [{**TRUST, "repository_id": "acme/shop"}]}, "console.trust[0].repository_id"),
        ({"trust": [{**TRUST, "targets": []}]}, "console.trust[0].targets"),
        ({"trust": [{**TRUST, "targets": ["nope"]}]}, "do not exist: nope"),
        ({"trust": [TRUST, TRUST]}, "used twice: deploys"),
        ({"trust": [TRUST], "issuer": "https://token.actions.githubusercontent.com"}, "different issuers"),
    ],
)
def test_what_would_let_others_in_is_refused(console: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**console)
    assert said in (caught.value.detail or "")


def test_a_change_of_who_gets_in_may_weaken_the_protection() -> None:
    before, after = read(trust=[TRUST]), read(trust=[{**TRUST, "refs": ["refs/heads/main", "refs/heads/dev"]}])
    [change] = changes(before, after)
    assert change.weakens
    assert change.words == 'console.trust.deploys.refs: adds "refs/heads/dev"'
