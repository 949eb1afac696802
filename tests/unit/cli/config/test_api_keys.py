"""`coffre api-keys`: the real function `rotate` keeps the keys, in this process; no secret gets further than stdout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.cli.config.conftest import GRACE, Context, Scene
from tests.unit.cli.conftest import Coffre

from coffre.catalog.api_keys import ApiKeys
from coffre.model.api_key import ApiKey, read_key


def make(coffre: Coffre, *options: str) -> dict[str, Any]:
    said = coffre("api-keys", "create", "nightly cron", "--scope", "backup:run:shop", *options, "--json")
    assert said.status == 0, said.err
    made: dict[str, Any] = said.json()
    return made


def kept(scene: Scene, key_id: str) -> ApiKey:
    key = scene.account.catalog.api_keys.find(key_id)
    assert key is not None
    return key


def test_a_key_is_shown_once_and_its_hash_alone_leaves_the_command(coffre: Coffre, scene: Scene) -> None:
    said = coffre("api-keys", "create", "nightly cron", "--scope", "backup:run:shop", "--scope", "verify:run")

    assert said.status == 0
    [text] = [line.strip() for line in said.out.splitlines() if line.startswith("  coffre_")]
    known = read_key(text)
    assert known is not None
    key = kept(scene, known[0])
    assert (key.label, key.scopes, key.sha256) == ("nightly cron", ("backup:run:shop", "verify:run"), known[1])
    assert key.made_by == scene.account.caller
    assert timedelta(days=89) < key.expires_at - datetime.now(UTC) <= timedelta(days=90)
    assert key.is_opened_by(known[1], datetime.now(UTC))

    secret = text.split("_", 2)[2]
    assert secret not in str(scene.events)
    assert secret not in scene.log.getvalue()
    listed = coffre("api-keys", "list")
    assert secret not in listed.out
    assert known[1] not in coffre("api-keys", "list", "--json").out


def test_the_list_says_what_became_of_each_key(coffre: Coffre, scene: Scene) -> None:
    assert coffre("api-keys", "list").out == "The API has no keys.\n"
    used, revoked = make(coffre), make(coffre)
    scene.account.catalog.api_keys.use(used["id"], datetime.now(UTC), per_minute=60)
    assert coffre("api-keys", "revoke", revoked["id"]).status == 0

    states = {one["id"]: one for one in coffre("api-keys", "list", "--json").json()["keys"]}
    assert (states[used["id"]]["state"], states[revoked["id"]]["state"]) == ("valid", "revoked")
    assert states[used["id"]]["last_used_at"] is not None
    shown = coffre("api-keys", "list").out
    assert "nightly cron" in shown
    assert "revoked" in shown


def test_a_rotated_key_is_a_new_secret_of_the_same_id(coffre: Coffre, scene: Scene) -> None:
    made = make(coffre)
    said = coffre("api-keys", "rotate", made["id"], "--expires", "30d", "--json")
    assert said.status == 0, said.err
    new, old = read_key(said.json()["secret"]), read_key(made["secret"])
    assert new is not None
    assert old is not None
    assert new[0] == old[0]
    assert new[1] != old[1]
    key, now = kept(scene, made["id"]), datetime.now(UTC)
    assert key.is_opened_by(new[1], now)
    assert key.is_opened_by(old[1], now)
    assert not key.is_opened_by(old[1], now + timedelta(hours=25))
    [shown] = coffre("api-keys", "list", "--json").json()["keys"]
    assert datetime.fromisoformat(shown["previous_until"]) == key.previous_until


def test_a_revoked_key_opens_nothing(coffre: Coffre, scene: Scene) -> None:
    made = make(coffre)
    coffre("api-keys", "rotate", made["id"])
    said = coffre("api-keys", "revoke", made["id"])
    assert said.out == f"Revoked: nightly cron ({made['id']}) opens nothing any more.\n"
    key = kept(scene, made["id"])
    assert (key.revoked_by, key.state(datetime.now(UTC))) == (scene.account.caller, "revoked")
    for command in ("revoke", "rotate"):
        again = coffre("api-keys", command, made["id"])
        assert again.status == 1
        assert "API_KEY_REVOKED" in again.err


def test_every_change_is_in_the_audit(coffre: Coffre, scene: Scene) -> None:
    made = make(coffre)
    coffre("api-keys", "rotate", made["id"])
    coffre("api-keys", "revoke", made["id"])
    events = [one for one in scene.account.catalog.audit.events() if one.action.startswith("api_key.")]
    assert sorted(one.action for one in events) == ["api_key.created", "api_key.revoked", "api_key.rotated"]
    assert {(one.subject, one.actor) for one in events} == {(made["id"], scene.account.caller)}
    [created] = [one for one in events if one.action == "api_key.created"]
    assert created.detail == "nightly cron: backup:run:shop"


def test_wrong_usage_changes_nothing(coffre: Coffre, scene: Scene) -> None:
    for arguments, said in (
        (["create", "x", "--scope", "restore:all"], "should be one of backup:read"),
        (["create", "x", "--scope", "backup:run:Shop"], "a target's name"),
        (["create", "x"], "--scope"),
        (["create", "x\ny", "--scope", "backup:run"], "printable characters"),
        (["create", "", "--scope", "backup:run"], "1 to 100"),
        (["create", "x", "--scope", "backup:run", "--expires", "367d"], "at most 366 days"),
        (["create", "x", "--scope", "backup:run", "--expires", "never"], "hours, days or weeks"),
        (["revoke", "0123"], "16 digits"),
        (["rotate", "coffre_0123456789abcdef_" + "a" * 43], "whole key"),
    ):
        found = coffre("api-keys", *arguments)
        assert found.status == 2
        assert said in " ".join(found.err.replace("│", " ").split())
    assert scene.events == []
    assert list(scene.account.catalog.api_keys.all()) == []


def test_what_the_function_refuses_is_one_error(coffre: Coffre, scene: Scene) -> None:
    unknown_target = coffre("api-keys", "create", "x", "--scope", "backup:run:nope")
    assert unknown_target.status == 1
    assert "TARGET_UNKNOWN" in unknown_target.err
    unknown_key = coffre("api-keys", "revoke", "0" * 16)
    assert unknown_key.status == 1
    assert "API_KEY_UNKNOWN" in unknown_key.err
    assert list(scene.account.catalog.api_keys.all()) == []
    assert [one for one in scene.actions() if one.startswith("api_key.")] == []


def test_an_event_that_does_not_fit_is_refused(scene: Scene) -> None:
    good = {"act": "create", "id": "0" * 16, "sha256": "a" * 64, "label": "x", "scopes": ["backup:run"]}
    wrong: tuple[dict[str, Any], ...] = (
        {"act": "create", "label": None},
        {"act": "create", "scopes": []},
        {"act": "create", "scopes": ["keys:manage"]},
        {"act": "create", "sha256": None},
        {"act": "create", "expires_in": None},
        {"act": "create", "label": "a\u202eb"},
        {"act": "rotate"},
        {"act": "revoke", "label": None, "scopes": []},
        {"id": "../x"},
        {"secret": "x"},
    )
    for changes in wrong:
        event = {"api_key": {**good, "expires_in": "1d", **changes}, "actor": GRACE}
        with pytest.raises(Exception, match="EVENT_INVALID"):
            scene.function.handle(event, Context())
    assert list(scene.account.catalog.api_keys.all()) == []


def test_a_key_that_lives_too_long_or_exists_is_refused(scene: Scene) -> None:
    good = {"act": "create", "id": "0" * 16, "sha256": "a" * 64, "label": "x", "scopes": ["backup:run"]}

    def send(**changes: Any) -> dict[str, Any]:
        return scene.function.handle({"api_key": {**good, "expires_in": "1d", **changes}, "actor": GRACE}, Context())

    assert send(expires_in="367d")["failure"]["code"] == "API_KEY_LIFETIME"
    assert "key" in send()
    assert send(sha256="b" * 64)["failure"]["code"] == "API_KEY_EXISTS"
    assert kept(scene, "0" * 16).sha256 == "a" * 64


def test_of_two_changes_at_the_same_time_one_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"id": "0" * 16, "sha256": "a" * 64, "expires_in": "1d"}
    event = {"api_key": {**good, "act": "create", "label": "x", "scopes": ["backup:run"]}, "actor": GRACE}
    scene.function.handle(event, Context())
    find = ApiKeys.find

    def changed_after(keys: ApiKeys, key_id: str) -> ApiKey | None:
        seen = find(keys, key_id)
        assert seen is not None
        keys.revoke(seen, "another", datetime.now(UTC))
        return seen

    monkeypatch.setattr(ApiKeys, "find", changed_after)
    answer = scene.function.handle({"api_key": {**good, "act": "rotate"}, "actor": GRACE}, Context())
    assert answer["failure"]["code"] == "API_KEY_CHANGED"
