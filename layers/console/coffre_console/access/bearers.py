"""Requests with a token of an identity provider: of a person for the API, or of a CI job that has no key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from coffre.model.configuration import Configuration
from coffre.model.console import Console, Trust
from coffre_console.access import grants
from coffre_console.access.caller import Caller
from coffre_console.access.identify import NOT_SIGNED_IN, Refused
from coffre_console.access.issuers import Issuer
from coffre_console.access.keys import bearer_of
from coffre_console.access.request import Request
from coffre_console.access.tokens import (
    Claims,
    TokenError,
    expect_access_token,
    expect_audience,
    issuer_of,
    read_token,
)
from coffre_console.access.web import Fetch, IssuerError

# The subject is unique at its issuer and never given to another (OpenID Connect Core 1.0, section 2).
_SUBJECT: Final = re.compile(r"[!-~]{1,128}")
_LONGEST_SHOWN: Final = 100
_MOST_GROUPS: Final = 1000
_REFUSED_EVENTS: Final = frozenset({"pull_request_target", "workflow_run"})
"""Events of GitHub in which a stranger's change decides what runs, with the rights of the main branch."""
_REFUSED_SOURCES: Final = frozenset({"external_pull_request_event", "merge_request_event"})
"""The same for GitLab (`pipeline_source`)."""
UNAVAILABLE: Final = Refused(503, "The identity provider does not answer. Try again in a minute.", "ISSUER_UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token is of: `name` is stable and unique, `shown` a mail address or the like, as the issuer says it."""

    name: str
    shown: str
    groups: tuple[str, ...]


@dataclass
class Issuers:
    """The identity providers that were asked, with what is known of each."""

    fetch: Fetch
    _known: dict[str, Issuer] = field(default_factory=dict, init=False)

    def of(self, url: str) -> Issuer:
        """Return the issuer with this exact `iss`; call it for those alone that the configuration names."""
        return self._known.setdefault(url, Issuer(url, self.fetch))


@dataclass(frozen=True, slots=True)
class TokenDoor:
    """Finds whose token a request has."""

    issuers: Issuers
    configuration: Callable[[], Configuration]

    def caller(self, request: Request, now: datetime) -> Caller | Refused | None:
        """Return whose token a request brings; None: it brings none."""
        text = bearer_of(request)
        if text is None:
            return None
        configuration = self.configuration()
        console = configuration.console
        said = issuer_of(text)
        trusted = [one for one in console.trust if one.signer == said] if console else []
        if console is None or said is None or (said != console.issuer and not trusted):
            return replace(NOT_SIGNED_IN, why="a token of an issuer that is not configured")
        try:
            claims = read_token(text, self.issuers.of(said), now)
            if trusted:
                return _job(configuration, trusted, claims, request)
            expect_access_token(claims, console.client_id, console.api_audience)
            person = person_of(claims, console)
        except TokenError as error:
            return replace(NOT_SIGNED_IN, why=f"a token of {said} is refused: {error}")
        except IssuerError as error:
            return replace(UNAVAILABLE, why=error.detail or error.message)
        return Caller("person", person.name, person.shown, grants.of_groups(configuration, person.groups))


def person_of(claims: Claims, console: Console) -> Person:
    """Return who a token is of, with those groups that the configuration has roles for.

    Raises
    ------
    TokenError
        It does not say who, or its groups are no list of names.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise TokenError("its sub names no one")
    shown = next(filter(None, (_line(claims.get(name)) for name in ("email", "preferred_username", "name"))), subject)
    said = claims.get(console.groups_claim, [])
    groups = [said] if isinstance(said, str) else said
    if not isinstance(groups, list) or len(groups) > _MOST_GROUPS:
        raise TokenError(f"its {console.groups_claim} is no list of groups")
    known = {one.group for one in console.roles}
    mine = tuple(sorted({one for one in groups if isinstance(one, str) and one in known}))
    return Person(f"{subject} ({shown})" if shown != subject else subject, shown, mine)


def _line(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= _LONGEST_SHOWN and text.isprintable() else None


def _job(configuration: Configuration, trusted: list[Trust], claims: Claims, request: Request) -> Caller | Refused:
    expect_audience(claims, request.base)
    reasons = []
    for trust in trusted:
        why = _wrong_with(trust, claims)
        if why is None:
            name = f"{trust.forge} {trust.name} ({trust.repository}, {trust.repository_id})"
            return Caller("workflow", name, f"{trust.repository} ({trust.name})", grants.of_trust(configuration, trust))
        reasons.append(f"{trust.name}: {why}")
    return replace(NOT_SIGNED_IN, why=f"no entry of trust fits ({'; '.join(reasons)[:500]})", name=trusted[0].forge)


def _wrong_with(trust: Trust, claims: Claims) -> str | None:
    """Return why a job is not the one that is trusted; None: it is.

    Claims of GitHub: https://docs.github.com/actions/reference/security/oidc; of GitLab:
    https://docs.gitlab.com/ci/secrets/id_token_authentication (2026-11).
    """
    github = trust.forge == "github"
    repository, owner = ("repository_id", "repository_owner_id") if github else ("project_id", "namespace_id")
    event, refused = ("event_name", _REFUSED_EVENTS) if github else ("pipeline_source", _REFUSED_SOURCES)
    if _text(claims, repository) != trust.repository_id or _text(claims, owner) != trust.owner_id:
        return "another repository or owner"
    # A token that does not say what started the job, or says it otherwise, is none of the forge's.
    if not isinstance(claims.get(event), str) or claims[event] in refused:
        return f"{event} is refused"
    if trust.refs and _text(claims, "ref" if github else "ref_path") not in trust.refs:
        return "another ref"
    if trust.environments and _text(claims, "environment") not in trust.environments:
        return "another environment"
    return None


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
