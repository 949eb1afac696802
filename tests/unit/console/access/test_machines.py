"""Machines: keys of the API, tokens of people, and CI jobs without a key. What is wrong with one is not shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.console.access.conftest import BASE, NOW, Scene, request
from tests.unit.console.access.issuer import PlayedIssuer, ec_key, rsa_key

from coffre.model.api_key import ApiKey, new_key, read_key, renewed
from coffre_console.access import keys
from coffre_console.access.caller import Caller
from coffre_console.access.identify import NOT_SIGNED_IN, Refused
from coffre_console.access.permissions import NOT_FOR_MACHINES, Permission
from coffre_console.access.web import unavailable

AT = int(NOW.timestamp())
DAY = timedelta(days=1)
GITHUB = {
    "name": "deploys",
    "forge": "github",
    "repository": "acme/shop",
    "repository_id": "1234",
    "owner_id": "77",
    "refs": ["refs/heads/main"],
    "environments": ["production"],
    "targets": ["shop"],
}
GITLAB = {
    **GITHUB,
    "name": "nightly",
    "forge": "gitlab",
    "issuer": "https://gitlab.example.com",
    "environments": [],
    "targets": ["billing"],
}


def key_of(scene: Scene, *scopes: str, **changes: Any) -> str:
    """Make a key; return its text."""
    text, key_id = new_key()
    known = read_key(text)
    assert known is not None
    key = ApiKey(
        id=key_id,
        label="cron",
        scopes=scopes or ("backup:run:shop",),
        made_by="ada",
        made_at=NOW,
        expires_at=NOW + 30 * DAY,
        sha256=known[1],
    )
    assert scene.catalog.api_keys.create(key.model_copy(update=changes))
    return text


def send(scene: Scene, text: str, now: Any = NOW, **fields: Any) -> Caller | Refused:
    return scene.gate.caller(request("POST", headers={"authorization": f"Bearer {text}"}, **fields), now)


def shown(found: Caller | Refused) -> Refused:
    """Return what the caller sees of a refusal."""
    assert isinstance(found, Refused)
    return replace(found, why="", name="")


# --- keys ---


def test_a_key_may_what_its_scopes_say_and_nothing_else(scene: Scene) -> None:
    text = key_of(scene, "backup:run:shop", "verify:run")
    found = send(scene, text)
    assert isinstance(found, Caller)
    assert (found.kind, found.shown, found.key) == ("key", "cron", text.split("_")[1])
    assert found.may(Permission.BACKUP, "shop")
    assert not found.may(Permission.BACKUP, "billing")
    assert not found.may(Permission.BACKUP)
    assert found.may(Permission.VERIFY, "billing")
    assert not any(found.may(one, "shop") for one in NOT_FOR_MACHINES)
    assert scene.catalog.api_keys.find(found.key).last_used_at == NOW  # type: ignore[union-attr]


def test_every_key_that_does_not_work_gets_the_same_answer(scene: Scene) -> None:
    good = key_of(scene)
    key_id = good.split("_")[1]
    expired = key_of(scene, expires_at=NOW)
    revoked = key_of(scene, revoked_at=NOW, revoked_by="ada")
    overlap_over = key_of(scene)
    seen = scene.catalog.api_keys.find(overlap_over.split("_")[1])
    assert seen is not None
    known = read_key(renewed(seen.id))
    assert known is not None
    scene.catalog.api_keys.rotate(seen, known[1], NOW - DAY, NOW + DAY)
    wrong = {
        "unknown": new_key()[0],
        "wrong secret": renewed(key_id),
        "expired": expired,
        "revoked": revoked,
        "rotated": overlap_over,
        "malformed": "coffre_x",
        "longer": f"{good}x",
        "other case": good.upper().replace("COFFRE", "coffre"),
        "no key": "coffre",
        "nothing": "",
    }
    assert {name: shown(send(scene, text)) for name, text in wrong.items()} == dict.fromkeys(wrong, NOT_SIGNED_IN)
    assert isinstance(send(scene, good), Caller)


def test_the_scheme_has_to_be_bearer(scene: Scene) -> None:
    text = key_of(scene)
    for header, works in ((f"bearer {text}", True), (f"Basic {text}", False), (text, False), (f"Bearer{text}", False)):
        found = scene.gate.caller(request(headers={"authorization": header}), NOW)
        assert isinstance(found, Caller) == works


def test_a_key_sends_so_many_requests_a_minute(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.PER_MINUTE == 60
    monkeypatch.setattr(keys, "PER_MINUTE", 2)
    text = key_of(scene)
    assert all(isinstance(send(scene, text), Caller) for _ in range(2))
    found = send(scene, text)
    assert isinstance(found, Refused)
    assert (found.status, found.headers["retry-after"]) == (429, "60")
    assert isinstance(send(scene, text, NOW + timedelta(minutes=1)), Caller)


def test_a_scope_that_this_version_does_not_know_gives_nothing(scene: Scene) -> None:
    found = send(scene, key_of(scene, "restore:all", "backup:delete", "backup:read"))
    assert isinstance(found, Caller)
    assert found.scopes == (Permission.READ,)


# --- what repeats is reported ---


def test_the_fifth_refusal_of_one_origin_is_reported_once(scene: Scene) -> None:
    text = renewed(key_of(scene).split("_")[1])
    for _ in range(4):
        send(scene, text)
    assert scene.alerts == []
    for _ in range(3):
        send(scene, text)
    [alert] = scene.alerts
    assert alert.kind == "CONSOLE_REFUSED"
    assert alert.subject == f"Console: 5 refused requests of key {text.split('_')[1]}"
    assert "a wrong secret for the key" in alert.text
    assert text not in alert.text
    # Another origin within the hour is no second message; in the next hour it is.
    for now, sent in ((NOW, 1), (NOW + timedelta(hours=1), 2)):
        for _ in range(5):
            send(scene, new_key()[0], now, address="192.0.2.9")
        assert len(scene.alerts) == sent


def test_refusals_are_in_the_audit_without_filling_it(scene: Scene) -> None:
    for _ in range(7):
        send(scene, new_key()[0])
    [event] = scene.audited("console.used")
    assert (event.result, event.actor, event.verified) == ("refused", "unknown", False)
    assert event.detail == "a key that does not exist (from 192.0.2.1) [NOT_SIGNED_IN]"


def test_machines_of_one_network_are_one_origin(scene: Scene) -> None:
    for number in range(5):
        send(scene, new_key()[0], address=f"2001:db8:1:2::{number:x}")
    assert [one.subject for one in scene.alerts] == ["Console: 5 refused requests of 2001:db8:1:2::/64"]
    for number in range(4):
        send(scene, new_key()[0], address=f"2001:db8:1:{number + 3:x}::1")
    assert len(scene.alerts) == 1


def test_who_only_looks_is_no_attacker(scene: Scene) -> None:
    for _ in range(10):
        scene.gate.caller(request(), NOW)
        scene.gate.caller(request(cookies={"__Host-session": "a" * 43}), NOW)
        scene.gate.caller(request(address="nonsense"), NOW)
    assert scene.alerts == []
    assert scene.audited("console.used") == []


def test_who_asks_for_more_than_their_role_is_in_the_audit_by_name(scene: Scene) -> None:
    found = send(scene, key_of(scene))
    assert isinstance(found, Caller)
    sent = request("DELETE", "/api/v1/backups/x")
    refused = scene.gate.enter(found, "DELETE", "/api/v1/backups/<backup_id>", sent, NOW)
    assert refused is not None
    assert (refused.status, refused.code) == (403, "NOT_ALLOWED")
    other = scene.gate.demand(found, Permission.BACKUP, "billing", sent, NOW)
    assert other is not None
    assert other.message == "Its scopes do not allow backup:run."
    assert scene.gate.demand(found, Permission.BACKUP, "shop", sent, NOW) is None
    assert scene.gate.enter(found, "GET", "/login", sent, NOW) is None
    [event] = scene.audited("console.used")
    assert (event.actor, event.verified) == (found.name, True)


def test_a_counter_that_does_not_answer_stops_no_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from coffre.catalog.refused_attempts import Attempts
    from coffre.model.errors import CatalogError

    def broken(*_: Any, **__: Any) -> int:
        raise CatalogError("The table does not answer.")

    monkeypatch.setattr(Attempts, "count", broken)
    assert shown(send(scene, new_key()[0])) == NOT_SIGNED_IN


# --- tokens of people ---


def test_a_persons_access_token_opens_the_api(scene: Scene) -> None:
    scene.configure(api_audience="https://backups.example.com/api")
    good = scene.issuer.person(AT, aud="https://backups.example.com/api", groups=["shop"])
    found = send(scene, scene.issuer.sign(good))
    assert isinstance(found, Caller)
    assert (found.kind, found.roles, found.session) == ("person", ("restorer",), "")
    for text in (
        scene.issuer.sign({**good, "aud": "coffre"}),
        scene.issuer.sign({**good, "aud": "https://other.example.com"}),
        scene.issuer.sign({**good, "nonce": "n"}),
        scene.issuer.sign({**good, "iss": "https://login.example.com/realms/other"}),
        scene.issuer.sign(good, key=rsa_key("two")),
        scene.issuer.sign(good, key=ec_key(), algorithm="ES256"),
        scene.issuer.sign({**good, "exp": AT - 61}),
        f"{scene.issuer.sign(good)}x",
    ):
        assert shown(send(scene, text)) == NOT_SIGNED_IN


def test_tokens_of_cognito_are_told_apart(scene: Scene) -> None:
    scene.configure(groups_claim="cognito:groups")
    claims = {**scene.issuer.person(AT), "cognito:groups": ["dba"], "token_use": "access", "client_id": "coffre"}
    claims.pop("aud")
    found = send(scene, scene.issuer.sign(claims))
    assert isinstance(found, Caller)
    assert found.roles == ("admin",)
    for wrong in (
        {**claims, "client_id": "another-client-of-the-pool"},
        {**claims, "token_use": "id", "aud": "coffre"},
        {name: value for name, value in claims.items() if name != "token_use"},
        {name: value for name, value in claims.items() if name != "client_id"},
    ):
        assert shown(send(scene, scene.issuer.sign(wrong))) == NOT_SIGNED_IN


def test_an_issuer_that_does_not_answer_is_no_attempt(scene: Scene) -> None:
    scene.configure(api_audience="https://api.example.com")
    text = scene.issuer.sign(scene.issuer.person(AT, aud="https://api.example.com"))
    scene.issuer.overrides[scene.issuer.keys_url] = unavailable(scene.issuer.keys_url, "status 500")
    for _ in range(6):
        found = send(scene, text)
        assert isinstance(found, Refused)
        assert found.status == 503
    assert scene.alerts == []


def test_an_issuer_that_is_not_configured_is_never_asked(scene: Scene) -> None:
    other = PlayedIssuer("https://evil.example")
    assert shown(send(scene, other.sign(other.person(AT)))) == NOT_SIGNED_IN
    assert scene.issuer.asked == []


# --- CI jobs ---


def job(scene: Scene, forge: str = "github", **changes: Any) -> dict[str, Any]:
    """Trust both jobs, and return the claims of one, as its forge has them."""
    scene.configure(trust=[GITHUB, GITLAB])
    issuer = "https://token.actions.githubusercontent.com" if forge == "github" else "https://gitlab.example.com"
    scene.issuer = PlayedIssuer(issuer)
    object.__setattr__(scene.gate, "fetch", scene.issuer)
    common = {"iss": issuer, "aud": BASE, "iat": AT, "exp": AT + 300, "sub": "job"}
    if forge == "github":
        numbers = {"repository_id": "1234", "repository_owner_id": "77", "repository": "acme/shop"}
        about = {"ref": "refs/heads/main", "environment": "production", "event_name": "push"}
    else:
        numbers = {"project_id": "1234", "namespace_id": "77", "project_path": "acme/shop"}
        about = {"ref": "main", "ref_path": "refs/heads/main", "pipeline_source": "schedule"}
    return {**common, **numbers, **about, **changes}


@pytest.mark.parametrize(("forge", "name", "target"), [("github", "deploys", "shop"), ("gitlab", "nightly", "billing")])
def test_a_trusted_job_may_back_up_its_targets_and_nothing_else(
    scene: Scene, forge: str, name: str, target: str
) -> None:
    claims = job(scene, forge)
    found = send(scene, scene.issuer.sign(claims))
    assert isinstance(found, Caller)
    assert (found.kind, found.name) == ("workflow", f"{forge} {name} (acme/shop, 1234)")
    assert found.scopes == (Permission.BACKUP,)
    assert [one for one in ("shop", "billing", "files") if found.may(Permission.BACKUP, one)] == [target]


@pytest.mark.parametrize(
    "changes",
    [
        {"repository_id": "1235"},
        {"repository_owner_id": "78"},
        {"repository_id": True},
        {"repository_id": None},
        {"ref": "refs/heads/dev"},
        {"ref": "refs/heads/main2"},
        {"ref": None},
        {"environment": "staging"},
        {"environment": None},
        {"event_name": "pull_request_target"},
        {"event_name": "workflow_run"},
        {"event_name": None},
        {"aud": f"{BASE}/"},
        {"aud": "https://github.com/acme"},
        {"aud": [BASE, "https://other.example.com"]},
        {"exp": AT - 61},
    ],
    ids=str,
)
def test_another_job_is_refused(scene: Scene, changes: dict[str, Any]) -> None:
    assert shown(send(scene, scene.issuer.sign(job(scene, **changes)))) == NOT_SIGNED_IN


@pytest.mark.parametrize(
    "changes",
    [
        {"project_id": "1"},
        {"namespace_id": "1"},
        {"ref_path": "refs/merge-requests/1/head"},
        {"ref_path": None},
        {"pipeline_source": "merge_request_event"},
        {"pipeline_source": "external_pull_request_event"},
        {"pipeline_source": None},
    ],
    ids=str,
)
def test_another_job_of_gitlab_is_refused(scene: Scene, changes: dict[str, Any]) -> None:
    assert shown(send(scene, scene.issuer.sign(job(scene, "gitlab", **changes)))) == NOT_SIGNED_IN


def test_a_repository_that_was_renamed_is_still_trusted_and_its_old_name_is_not(scene: Scene) -> None:
    renamed = job(scene, repository="new/name")
    assert isinstance(send(scene, scene.issuer.sign(renamed)), Caller)
    taken = job(scene, repository_id="999", repository="acme/shop")
    assert shown(send(scene, scene.issuer.sign(taken))) == NOT_SIGNED_IN


def test_a_token_of_one_forge_does_not_fit_an_entry_of_the_other(scene: Scene) -> None:
    claims = job(scene, "gitlab")
    github = job(scene)
    assert isinstance(send(scene, scene.issuer.sign(github)), Caller)
    mixed = {**claims, "iss": github["iss"]}
    assert shown(send(scene, scene.issuer.sign(mixed))) == NOT_SIGNED_IN
