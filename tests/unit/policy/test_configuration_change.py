"""What a new document changes, in words; what may leave less protected is marked, also fields that no rule knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coffre.model.configuration import Configuration, parse_configuration
from coffre.policy.configuration_change import Change, changes, demanded_approvals, listed
from coffre.vault.codec import new_identity, public_key

FIRST, SECOND = (public_key(new_identity()) for _ in range(2))


def configuration(
    shop: dict[str, Any] | None = None, files: dict[str, Any] | None = None, **fields: Any
) -> Configuration:
    targets = [
        {"name": "shop", "secret": "coffre/database/shop", **(shop or {})},
        {"name": "files", "kind": "bucket", "buckets": [{"name": "avatars.eu"}], **(files or {})},
    ]
    document = {"encryption": "age", "recipients": [FIRST], "targets": targets, **fields}
    return parse_configuration(json.dumps(document), where="a test")


def found(before: Configuration, after: Configuration) -> dict[str, bool]:
    return {one.words: one.weakens for one in changes(before, after)}


def test_defaults_that_are_written_out_and_another_order_are_no_change() -> None:
    plain = configuration()
    written = configuration({"limits": {"lock_timeout_seconds": 10}, "kind": "database"}, version=1)
    turned = plain.model_copy(update={"targets": plain.targets[::-1]})

    assert found(plain, written) == found(plain, turned) == {}


@pytest.mark.parametrize(
    ("path", "before", "after", "weakens"),
    [
        ("retention.daily_days", 7, 3, True),
        ("retention.daily_days", 7, 30, False),
        ("retention.daily_count", None, 5, False),
        ("retention.daily_count", 5, None, True),
        ("retention.minimum_verified", 2, 0, True),
        ("retention.minimum_kept", 2, 3, False),
        ("retention.maximum_bytes", None, 1000, True),
        ("retention.maximum_bytes", 1000, 2000, False),
        ("retention.maximum_bytes", 2000, 1000, True),
        ("retention.maximum_bytes", 1000, None, False),
        ("alerts.size_change_percent", 50, None, True),
        ("alerts.size_change_percent", None, 50, False),
        ("drill.rto_minutes", 60, None, True),
        ("limits.streams", None, 4, False),
        ("freshness.late_hours", 4, 8, False),
        ("contents", "full", "schema", True),
        ("secret", "coffre/database/shop", "coffre/database/other", True),
    ],
)
def test_one_field_is_told_with_both_values_and_marked_when_less_is_kept(
    path: str, before: Any, after: Any, weakens: bool
) -> None:
    first, second = (configuration(_nested(path, value)) for value in (before, after))

    words = f"targets.shop.{path}: {json.dumps(before)} -> {json.dumps(after)}"
    assert found(first, second) == {words: weakens}


def _nested(path: str, value: Any) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def test_a_journal_is_switched_on_without_a_mark_and_off_with_one() -> None:
    without, having = configuration(), configuration({"journal": {}})

    assert set(found(without, having).values()) == {False}
    assert set(found(having, without).values()) == {True}
    assert list(found(having, configuration({"journal": {"window_days": 3}})).values()) == [True]
    assert list(found(having, configuration({"journal": {"window_days": 14}})).values()) == [False]


def test_every_change_of_who_can_open_backups_is_marked() -> None:
    more, other = configuration(recipients=[FIRST, SECOND]), configuration(recipients=[SECOND])

    assert list(found(configuration(), more).values()) == [True]
    assert list(found(more, configuration()).values()) == [True]
    [words] = found(configuration(), other)
    assert words == f'recipients: adds "{SECOND[:55]}..."; removes "{FIRST[:55]}..."'
    own = found(configuration(), configuration({"recipients": [SECOND]}))
    assert list(own.values()) == [True]
    off = configuration(encryption="none", recipients=[])
    assert 'encryption: "age" -> "none"' in found(configuration(), off)


def test_a_target_is_new_or_removed_as_a_whole() -> None:
    both = configuration()
    one = both.model_copy(update={"targets": both.targets[:1]})

    assert found(one, both) == {"targets.files: new": False}
    assert found(both, one) == {"targets.files: removed. No more backups of it are taken; those that exist stay": True}


def test_a_section_that_is_new_or_removed_is_told_by_its_fields() -> None:
    daily = configuration({"schedule": {"expression": "rate(1 day)"}})
    assert list(found(configuration(), daily)) == [
        'targets.shop.schedule.expression: new: "rate(1 day)"',
        'targets.shop.schedule.time_zone: new: "UTC"',
    ]
    assert list(found(daily, configuration())) == [
        'targets.shop.schedule.expression: removed: "rate(1 day)"',
        'targets.shop.schedule.time_zone: removed: "UTC"',
    ]


def test_buckets_and_checks_are_known_by_their_names_also_with_dots() -> None:
    more = configuration(files={"buckets": [{"name": "avatars.eu"}, {"name": "avatars"}]})
    assert found(configuration(), more) == {"targets.files.buckets.avatars: new": False}
    assert found(more, configuration()) == {"targets.files.buckets.avatars: removed": True}
    narrowed = configuration(files={"buckets": [{"name": "avatars.eu", "prefixes": ["a/"]}]})
    assert found(configuration(), narrowed) == {'targets.files.buckets.avatars.eu.prefixes: adds "a/"': True}
    checked = configuration({"drill": {"checks": [{"name": "orders", "query": "SELECT 1", "expect": 1}]}})
    assert found(configuration(), checked) == {"targets.shop.drill.checks.orders: new": False}
    assert found(checked, configuration()) == {"targets.shop.drill.checks.orders: removed": True}


def test_a_second_person_that_is_no_longer_asked_is_marked_wherever_the_rule_was() -> None:
    asked = configuration(confirmation={"approvals": 1})
    assert set(found(configuration(), asked).values()) == {False}
    assert set(found(asked, configuration()).values()) == {True}
    # A target's own rule hides the document's.
    excepted = configuration({"confirmation": {"approvals": 0}}, confirmation={"approvals": 1})
    assert found(asked, excepted) == {"targets.shop.confirmation.approvals: 1 -> 0": True}


def test_addresses_with_a_secret_part_are_not_repeated() -> None:
    url = "https://hc-ping.com/0f3b-secret"
    called = configuration({"alerts": {"heartbeat_url": url}})
    assert found(configuration(), called) == {"targets.shop.alerts.heartbeat_url: set": False}
    assert found(called, configuration()) == {"targets.shop.alerts.heartbeat_url: removed": True}
    other = configuration({"alerts": {"heartbeat_url": f"{url}2"}})
    assert found(called, other) == {"targets.shop.alerts.heartbeat_url: changed": False}


def test_a_document_that_cannot_be_read_is_replaced_as_a_whole() -> None:
    [only] = changes(None, configuration())
    assert only.weakens


def test_long_lists_of_changes_are_cut_and_counted() -> None:
    many = [Change("a", f"a{number}: new", weakens=False) for number in range(250)]
    assert len(listed(many)) == 201
    assert listed(many)[-1] == "and 50 more changes"
    assert listed(many[:2]) == ("a0: new", "a1: new")


@pytest.mark.parametrize(
    ("document", "approvals"),
    [
        ("", 0),
        ("[]", 0),
        ("{" * 100_000, 0),
        ('{"targets": 5}', 0),
        ('{"confirmation": {"approvals": 0}}', 0),
        ('{"confirmation": {"approvals": 1}}', 1),
        ('{"targets": [{"confirmation": {"approvals": 1}}], "unknown": true}', 1),
        ('{"targets": [7, {"confirmation": 3}]}', 0),
    ],
)
def test_the_second_person_is_asked_by_what_the_document_says_valid_or_not(document: str, approvals: int) -> None:
    assert demanded_approvals(document) == approvals
