"""What the console keeps: sessions that end, keys with two secrets for a day, counters, and no secret anywhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.catalog.conftest import RawTable

from coffre.catalog.catalog import Catalog
from coffre.catalog.console_starts import BEGINS_WITHIN
from coffre.model.api_key import ApiKey, KeyScope, checked_scopes, new_key, read_key, renewed
from coffre.model.session import Session

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def session(now: datetime, **changes: Any) -> Session:
    fields: dict[str, Any] = {"id": "a" * 64, "name": "1 at idp", "shown": "ada", "groups": ("dba", "dev")}
    fields |= {"issuer": "https://login.example.com", "client_id": "coffre"}
    return Session(**{**fields, "began_at": now, "seen_at": now, "expires_at": now + 8 * HOUR, **changes})


def made(now: datetime, **changes: Any) -> tuple[ApiKey, str]:
    text, key_id = new_key()
    known = read_key(text)
    assert known is not None
    fields: dict[str, Any] = {"label": "cron", "scopes": ("backup:run:shop",), "made_by": "ada", "made_at": now}
    return ApiKey(**{**fields, "id": key_id, "sha256": known[1], "expires_at": now + 30 * DAY, **changes}), text


def hash_of(text: str) -> str:
    known = read_key(text)
    assert known is not None
    return known[1]


def test_a_session_is_kept_seen_and_ended(catalog: Catalog, now: datetime, raw_table: RawTable) -> None:
    one = session(now)
    catalog.sessions.begin(one)
    assert catalog.sessions.find(one.id) == one
    assert catalog.sessions.find("b" * 64) is None

    assert catalog.sessions.seen(one, now + 59 * timedelta(seconds=1), every=MINUTE)
    assert catalog.sessions.find(one.id) == one, "a look within the minute writes nothing"
    assert catalog.sessions.seen(one, now + MINUTE, every=MINUTE)
    assert catalog.sessions.find(one.id) == session(now, seen_at=now + MINUTE)
    assert [found.id for found in catalog.sessions.all()] == [one.id]

    assert catalog.sessions.end(one.id)
    assert not catalog.sessions.end(one.id)
    assert not catalog.sessions.seen(one, now + HOUR, every=MINUTE), "what has ended does not begin again"
    assert raw_table.scan()["Items"] == []


def test_the_table_forgets_a_session(catalog: Catalog, now: datetime, raw_table: RawTable) -> None:
    catalog.sessions.begin(session(now))
    [item] = raw_table.scan()["Items"]
    assert int(item["expires_at_epoch"]) == (now + 8 * HOUR).timestamp()


def test_a_key_is_kept_without_its_secret(catalog: Catalog, now: datetime, raw_table: RawTable) -> None:
    key, text = made(now)
    assert catalog.api_keys.create(key)
    assert not catalog.api_keys.create(key)
    assert catalog.api_keys.find(key.id) == key
    assert [one.id for one in catalog.api_keys.all()] == [key.id]
    assert text.split("_", 2)[2] not in str(raw_table.scan()["Items"])


def test_a_rotated_key_has_two_secrets_for_a_day(catalog: Catalog, now: datetime) -> None:
    key, old = made(now)
    catalog.api_keys.create(key)
    new = renewed(key.id)
    rotated = catalog.api_keys.rotate(key, hash_of(new), now + HOUR, now + 90 * DAY)
    assert rotated is not None
    assert rotated == catalog.api_keys.find(key.id)

    for when, works in ((now + 2 * HOUR, True), (now + 24 * HOUR, True), (now + 25 * HOUR, False)):
        assert rotated.is_opened_by(hash_of(old), when) == works
        assert rotated.is_opened_by(hash_of(new), when)
    assert not rotated.is_opened_by(hash_of(new), now + 90 * DAY), "an expired key opens nothing"
    assert catalog.api_keys.rotate(key, hash_of(new), now, now) is None, "it is not as it was seen"


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(catalog: Catalog, now: datetime) -> None:
    key, text = made(now)
    catalog.api_keys.create(key)
    revoked = catalog.api_keys.revoke(key, "ada", now)
    assert revoked is not None
    assert not revoked.is_opened_by(hash_of(text), now)
    assert (revoked.state(now), revoked.revoked_by) == ("revoked", "ada")
    assert catalog.api_keys.revoke(revoked, "ada", now) is None
    assert catalog.api_keys.rotate(revoked, hash_of(renewed(key.id)), now, now + DAY) is None


def test_an_overlap_never_outlives_the_key(catalog: Catalog, now: datetime) -> None:
    key, old = made(now, expires_at=now + HOUR)
    catalog.api_keys.create(key)
    rotated = catalog.api_keys.rotate(key, hash_of(renewed(key.id)), now, now + DAY)
    assert rotated is not None
    assert not rotated.is_opened_by(hash_of(old), now + HOUR)


def test_a_key_is_used_so_often_in_a_minute(catalog: Catalog, now: datetime) -> None:
    key, _ = made(now)
    catalog.api_keys.create(key)
    uses = [catalog.api_keys.use(key.id, now, per_minute=3) for _ in range(5)]
    assert uses == [True, True, True, False, False]
    assert catalog.api_keys.use(key.id, now + MINUTE, per_minute=3)
    assert not catalog.api_keys.use("0" * 16, now, per_minute=3), "an unknown key is not made by its use"
    found = catalog.api_keys.find(key.id)
    assert found is not None
    assert found.last_used_at == now + MINUTE


def test_attempts_are_counted_by_origin_and_window(catalog: Catalog, now: datetime, raw_table: RawTable) -> None:
    window = 10 * MINUTE
    counts = [catalog.attempts.count("192.0.2.1", now, window=window) for _ in range(3)]
    assert counts == [1, 2, 3]
    assert catalog.attempts.count("192.0.2.2", now, window=window) == 1
    assert catalog.attempts.count("192.0.2.1", now + window, window=window) == 1
    assert "192.0.2.1" not in str(raw_table.scan()["Items"])
    assert all(int(item["expires_at_epoch"]) > now.timestamp() for item in raw_table.scan()["Items"])


@pytest.mark.parametrize("text", ["", "coffre_x_y", "coffre_" + "0" * 16 + "_" + "a" * 42, "Coffre_" + "0" * 60])
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key(text) is None


def test_a_secret_with_underscores_is_read() -> None:
    text = f"coffre_{'0' * 16}_{'_' * 43}"
    assert read_key(text) is not None
    assert read_key(f"{text}\n") is None


def test_scopes_are_read_and_kept_sorted() -> None:
    assert checked_scopes(["verify:run", "backup:run:shop", "verify:run"]) == ("backup:run:shop", "verify:run")
    assert KeyScope.parse("backup:run:shop").target == "shop"


@pytest.mark.parametrize("text", ["restore:part", "backup:delete", "keys:manage", "backup", "", "backup:run:", "a:b:c"])
def test_no_key_restores_deletes_or_makes_keys(text: str) -> None:
    with pytest.raises(ValueError, match="should be one of"):
        KeyScope.parse(text)


@pytest.mark.parametrize("text", ["backup:run:*", "backup:run:Shop", "backup:run:a:b", "backup:run: shop"])
def test_a_scopes_target_is_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="should be followed by a target's name"):
        KeyScope.parse(text)


def test_of_two_starts_at_the_same_time_one_is_made(catalog: Catalog, now: datetime) -> None:
    """Both have read that none was started; and a call that is repeated finds its own."""
    second: list[str | None] = []

    def meanwhile(backup_id: str) -> bool:
        if not second:
            second.append("")
            second.append(catalog.starts.claim("shop", "B", now, has_ended=lambda _: True))
        return backup_id == "A"

    assert catalog.starts.claim("shop", "A", now, has_ended=lambda _: False) is None
    assert catalog.starts.claim("shop", "C", now, has_ended=meanwhile) == "B"
    assert second[1:] == [None]
    assert catalog.starts.claim("shop", "B", now + BEGINS_WITHIN - MINUTE, has_ended=lambda _: False) == "B"

    catalog.starts.release("shop", "A", now)  # another's is not given back
    assert catalog.starts.claim("shop", "D", now, has_ended=lambda _: False) == "B"
    catalog.starts.release("shop", "B", now)
    assert catalog.starts.claim("shop", "D", now, has_ended=lambda _: False) is None
