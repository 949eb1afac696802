"""Addresses of repositories: what is taken, and that nothing else is."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from coffre.model.configuration import parse_configuration
from coffre.model.errors import ConfigurationError
from coffre.model.kinds import TargetKind
from coffre.model.repositories import Organisation, RepositoryAddress
from coffre.model.repository_target import RepositoryTarget


@pytest.mark.parametrize(
    ("url", "name", "again"),
    [
        ("https://github.com/acme/web.git", "github.com/acme/web.git", "https://github.com/acme/web.git"),
        ("https://github.com/acme/.github/", "github.com/acme/.github.git", "https://github.com/acme/.github.git"),
        ("https://git.example.com:8443/a/b/c", "git.example.com:8443/a/b/c.git", "https://git.example.com:8443/a/b/c.git"),
        ("ssh://git@git.example.com:22/a", "git.example.com/a.git", "ssh://git@git.example.com:22/a.git"),
        ("http://localhost:3000/a", "localhost:3000/a.git", "http://localhost:3000/a.git"),
    ],
)  # fmt: skip
def test_an_address_is_taken_apart(url: str, name: str, again: str) -> None:
    address = RepositoryAddress.parse(url)

    assert (address.name, address.url) == (name, again)


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/git/web.git",
        "/srv/git/web.git",
        "ext::sh -c touch% /tmp/x",
        "fd::17/web",
        "git://github.com/acme/web.git",
        "git@github.com:acme/web.git",
        "http://github.com/acme/web.git",
        "http://169.254.169.254/latest",
        "https://user:s3cret@github.com/acme/web.git",
        "https://s3cret@github.com/acme/web.git",
        "https://github.com",
        "https://github.com/acme/../web.git",
        "https://github.com/acme/web.git?x=1",
        "https://github.com/acme/web.git#x",
        "https://github.com/acme/%2e%2e/web",
        "https://github.com/acme/web.git\n",
        "https://github.com/acme/we b",
        "https://github.com/a.git/web",
        "https://github.com:port/acme/web",
        "https://-oProxyCommand=x/web",
        "ssh://-oProxyCommand=x@host/web",
        "ssh://git@-host/web",
        "ssh://git@host/-web'$(x)",
        "https://[::1]/web",
        "https://gіthub.com/acme/web",
    ],
)
def test_everything_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^should ") as refused:
        RepositoryAddress.parse(url)

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({}, "at least one of repositories and organisations"),
        ({"repositories": [{"url": "https://a.com/b"}, {"url": "ssh://git@a.com/b.git"}]}, "named twice: a.com/b.git"),
        ({"repositories": [{"url": "https://s3cret@a.com/b"}]}, "should contain no login"),
        ({"repositories": [{"url": "https://a.com/b", "secret": "coffre/identity/main"}]}, "secret"),
        ({"organisations": [{"forge": "github", "name": "../x"}]}, "name"),
        ({"organisations": [{"forge": "gitlab", "name": "x", "url": "https://a.com/b/c"}]}, "server alone"),
    ],
)
def test_a_configuration_with_a_wrong_repository_names_the_field(target: dict[str, object], why: str) -> None:
    document = {"encryption": "none", "targets": [{"name": "code", "kind": "repository", **target}]}

    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(json.dumps(document), where="it")

    assert why in (refused.value.detail or "")
    assert "s3cret" not in str(refused.value)


def test_hosts_stand_for_buckets() -> None:
    target = RepositoryTarget.model_validate(
        {
            "name": "code",
            "kind": TargetKind.REPOSITORY,
            "repositories": [{"url": "https://git.example.com:8443/a"}],
            "organisations": [{"forge": "gitlab", "name": "acme/backend"}, {"forge": "github", "name": "acme"}],
        }
    )

    assert [one.name for one in target.buckets] == ["git.example.com:8443", "github.com", "gitlab.com"]


def test_an_organisation_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        Organisation.model_validate({"forge": "github", "name": "acme", "token": "x"})
