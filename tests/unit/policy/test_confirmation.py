"""What a confirmation confirms: the rules by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre.model.confirmation import (
    Act,
    Confirmation,
    Facts,
    IssuedPlan,
    Overwritten,
    Plan,
    Request,
    Seen,
    is_same_name,
    token_id,
)
from coffre.model.errors import ConfirmationError
from coffre.model.restore import Scope
from coffre.model.storage import StorageScope
from coffre.policy.confirmation import refuse_approval, refuse_declining, refuse_plan, refuse_unconfirmed

NOW = datetime(2026, 11, 28, 3, 5, tzinfo=UTC)
ADA = Actor("arn:ada", verified=True)
FACTS = Facts(exact={"the database": "1"}, sizes={"its size": 1_000_000_000}, least={"healthy backups that remain": 3})


def plan(scope: Scope | StorageScope | None = None, **seen: Any) -> Plan:
    request = Request.of(Act.RESTORE, "shop", "backup", "a" * 64, scope or Scope(replace=True))
    return Plan(request=request, seen=Seen(**{"destination": "db:5432/shop", "name": "shop", "facts": FACTS, **seen}))


def issued(of: Plan | None = None, **fields: Any) -> IssuedPlan:
    of = of or plan()
    values = {
        "id": token_id("t" * 43),
        "plan": of,
        "plan_sha256": of.sha256,
        "actor": ADA.name,
        "verified": True,
        "made_at": NOW,
        "expires_at": NOW + timedelta(minutes=10),
    }
    return IssuedPlan(**{**values, **fields})


def confirm(found: IssuedPlan | None, now_seen: Plan | None = None, **how: Any) -> IssuedPlan:
    given = Confirmation(token="t" * 43, name=how.pop("name", "shop"))
    values: dict[str, Any] = {"actor": ADA, "now": NOW, "approvals": 0, **how}
    return refuse_unconfirmed(found, now_seen or plan(), given, values.pop("actor"), values.pop("now"), **values)


def code_of(call: Any) -> str:
    with pytest.raises(ConfirmationError) as caught:
        call()
    assert caught.value.hint or caught.value.code == "APPROVAL_REFUSED"
    return caught.value.code


def test_the_plan_as_it_was_shown_is_confirmed() -> None:
    assert confirm(issued()).plan == plan()


@pytest.mark.parametrize("scope", [Scope(replace=True, strict=True), Scope(replace=True, analyze=False), Scope()])
def test_another_choice_is_refused(scope: Scope) -> None:
    assert code_of(lambda: confirm(issued(), plan(scope))) == "CONFIRMATION_MISMATCH"


def test_a_dry_run_and_its_run_are_the_same_request() -> None:
    dry, run = (Request.of(Act.RESTORE, "a", "b", "c", Scope(replace=True, dry_run=dry)) for dry in (True, False))
    assert dry.sha256 == run.sha256


@pytest.mark.parametrize("seconds", [600, 601, 10**6])
def test_after_ten_minutes_it_is_over_to_the_instant(seconds: int) -> None:
    assert code_of(lambda: confirm(issued(), now=NOW + timedelta(seconds=seconds))) == "CONFIRMATION_INVALID"
    assert confirm(issued(), now=NOW + timedelta(minutes=10) - timedelta(microseconds=1))


def test_a_record_that_was_changed_in_the_table_confirms_nothing() -> None:
    other = plan(name="live")
    assert code_of(lambda: confirm(issued(plan_sha256=other.sha256))) == "CONFIRMATION_INVALID"


def test_a_verified_maker_is_not_replaced_by_a_claim() -> None:
    claimed = Actor(ADA.name, verified=False)
    assert code_of(lambda: confirm(issued(), actor=claimed)) == "CONFIRMATION_MISMATCH"
    assert confirm(issued(verified=False), actor=ADA)


def test_an_approval_that_is_demanded_meanwhile_is_needed() -> None:
    assert code_of(lambda: confirm(issued(), approvals=1)) == "APPROVAL_NEEDED"
    assert code_of(lambda: confirm(issued(approvals=1))) == "APPROVAL_NEEDED"
    assert confirm(issued(approvals=1, approved_by="arn:grace"), approvals=1)
    # Rows that are only set back need none
    rows = plan(Scope(tables=("t",), rows={"where": "true"}, apply=True))
    assert confirm(issued(rows), rows, approvals=1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"exact": {"the database": "2"}}, "the database changed"),
        ({"exact": {}}, "the database changed"),
        ({"exact": {"the database": "1", "the server": "9"}}, "the server changed"),
        ({"sizes": {"its size": 3_000_000_000}}, "its size was 1.0 GB and is 3.0 GB"),
        ({"sizes": {"its size": 1000}}, "its size was 1.0 GB and is 1.0 kB"),
        ({"sizes": {}}, "its size cannot be read any more"),
        ({"least": {"healthy backups that remain": 2}}, "healthy backups that remain: 2, and 3 when the plan was made"),
    ],
)
def test_a_destination_that_changed_is_named(facts: dict[str, Any], words: str) -> None:
    now = FACTS.model_copy(update=facts)

    with pytest.raises(ConfirmationError) as caught:
        confirm(issued(), plan(facts=now))

    assert caught.value.code == "DESTINATION_CHANGED"
    assert words in caught.value.message


def test_ordinary_traffic_changes_nothing() -> None:
    grown = FACTS.model_copy(update={"sizes": {"its size": 1_900_000_000}, "least": {"healthy backups that remain": 4}})
    lost = Overwritten(rows_estimate=5_000_000, newest_row="2026-11-28 03:04:00")

    assert confirm(issued(), plan(facts=grown, overwrites=lost))


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_names_are_the_same_only_when_their_composed_characters_are(first: str, second: str) -> None:
    import unicodedata

    assert is_same_name(unicodedata.normalize("NFD", first), first)
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    assert is_same_name(first, second) == same


@pytest.mark.parametrize("typed", ["Shop", "shop ", " shop", "ѕhop", "shop\u200b", "s"])
def test_a_name_that_only_looks_the_same_is_refused(typed: str) -> None:
    assert code_of(lambda: confirm(issued(), name=typed)) == "CONFIRMATION_MISMATCH"


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
)
def test_facts_change_exactly_when_one_of_them_does(before: dict[str, str], after: dict[str, str]) -> None:
    first, second = Facts(exact=before), Facts(exact=after)

    assert bool(first.changes(second)) == (before != after)
    assert (first.fingerprint == second.fingerprint) == (before == after)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_sizes_may_double_or_halve(before: int, after: int) -> None:
    changes = Facts(sizes={"its size": before}).changes(Facts(sizes={"its size": after}))

    slack = 64 * 1024 * 1024
    assert bool(changes) == (not (before / 2 - slack <= after <= 2 * before + slack))


def test_a_plan_survives_its_way_through_json() -> None:
    lost = Overwritten(database="shop", newest_remaining=NOW, rows_estimate=1)
    made = plan(StorageScope(mode="mirror", keys=(), prefix="ü/"), overwrites=lost)

    assert Plan.model_validate_json(made.model_dump_json(exclude_defaults=True)).sha256 == made.sha256


@pytest.mark.parametrize(
    ("approver", "fields", "words"),
    [
        (ADA, {}, "another person has to approve it"),
        (Actor("arn:grace"), {}, "not verified who approves"),
        (Actor("arn:grace", verified=True), {"verified": False}, "not verified who made"),
        (Actor("arn:grace", verified=True), {"approvals": 0}, "needs no approval"),
        (Actor("arn:grace", verified=True), {"approved_by": "arn:eve"}, "arn:eve has approved it already"),
    ],
)
def test_an_approval_is_of_another_verified_person_and_once(approver: Actor, fields: Any, words: str) -> None:
    found = issued(**{"approvals": 1, **fields})

    with pytest.raises(ConfirmationError, match=words) as caught:
        refuse_approval(found, found.plan_sha256, approver, NOW)

    assert caught.value.code == "APPROVAL_REFUSED"


def test_an_approval_is_of_the_plan_that_was_shown_and_that_still_waits() -> None:
    grace, found = Actor("arn:grace", verified=True), issued(approvals=1)

    assert refuse_approval(found, found.plan_sha256, grace, NOW) == found
    assert code_of(lambda: refuse_approval(found, "0" * 64, grace, NOW)) == "APPROVAL_REFUSED"
    late = NOW + timedelta(hours=2)
    assert code_of(lambda: refuse_approval(found, found.plan_sha256, grace, late)) == "CONFIRMATION_INVALID"
    assert code_of(lambda: refuse_approval(None, found.plan_sha256, grace, NOW)) == "CONFIRMATION_INVALID"


def test_an_approval_in_the_console_is_only_taken_where_it_is_allowed() -> None:
    grace, found = Actor.in_console("grace"), issued(approvals=1)

    assert code_of(lambda: refuse_approval(found, found.plan_sha256, grace, NOW)) == "APPROVAL_REFUSED"
    assert refuse_approval(found, found.plan_sha256, grace, NOW, in_console=True) == found
    own = issued(approvals=1, actor=grace.name)
    assert code_of(lambda: refuse_approval(own, own.plan_sha256, grace, NOW, in_console=True)) == "APPROVAL_REFUSED"


def test_a_person_of_the_console_is_the_same_by_whatever_address_it_shows() -> None:
    own = issued(approvals=1, actor=Actor.in_console("u-11 (ada@example.com)").name)

    for shown in ("u-11", "u-11 (other@example.com)", "u-11 (a) (b)"):
        me = Actor.in_console(shown)
        assert code_of(lambda me=me: refuse_approval(own, own.plan_sha256, me, NOW, in_console=True)) == (
            "APPROVAL_REFUSED"
        )
    other = Actor.in_console("u-12 (ada@example.com)")
    assert refuse_approval(own, own.plan_sha256, other, NOW, in_console=True) == own
    assert Actor("arn:aws:iam::123456789012:user/ada (b)").person == "arn:aws:iam::123456789012:user/ada (b)"


def test_a_plan_is_declined_by_a_verified_person_and_confirms_nothing_then() -> None:
    found = issued(approvals=1, approved_by="arn:grace")
    no = issued(approvals=1, approved_by="arn:grace", declined_by="arn:eve", declined_because="not now")

    assert refuse_declining(found, found.plan_sha256, ADA, NOW) == found
    for one, shown, who in (
        (found, "0" * 64, ADA),
        (found, found.plan_sha256, Actor("arn:x")),
        (no, no.plan_sha256, ADA),
    ):
        assert (
            code_of(lambda one=one, shown=shown, who=who: refuse_declining(one, shown, who, NOW)) == "APPROVAL_REFUSED"
        )
    assert (
        code_of(lambda: refuse_approval(no, no.plan_sha256, Actor("arn:x", verified=True), NOW)) == "APPROVAL_REFUSED"
    )
    with pytest.raises(ConfirmationError, match="arn:eve has declined this plan: not now") as caught:
        confirm(no, approvals=1)
    assert caught.value.code == "APPROVAL_DECLINED"


def test_an_approved_plan_is_confirmed_by_its_id_and_no_other_plan_is() -> None:
    def by_id(found: IssuedPlan, actor: Actor = ADA) -> IssuedPlan:
        given = Confirmation(plan=found.id, name="shop")
        return refuse_unconfirmed(found, plan(), given, actor, NOW, approvals=1)

    approved = issued(approvals=1, approved_by="arn:grace")
    assert by_id(approved) == approved
    assert code_of(lambda: by_id(issued(approvals=1))) == "APPROVAL_NEEDED"
    assert code_of(lambda: by_id(issued())) == "CONFIRMATION_INVALID"
    assert code_of(lambda: by_id(approved, Actor("arn:grace", verified=True))) == "CONFIRMATION_MISMATCH"
    for fields in ({}, {"token": "t" * 43, "plan": "a" * 64}, {"plan": "A" * 64}):
        with pytest.raises(ValidationError):
            Confirmation(name="shop", **fields)


def test_a_job_that_was_given_no_consent_refuses() -> None:
    assert code_of(lambda: refuse_plan(plan())) == "CONFIRMATION_NEEDED"


def test_a_token_is_not_shown_with_its_event() -> None:
    assert "secret-token-of-43" not in repr(Confirmation(token="secret-token-of-43-characters", name="shop"))
    with pytest.raises(ValidationError) as caught:
        Confirmation(token="short", name="shop")
    assert "short'" not in str(caught.value)


def test_a_target_may_demand_another_number_of_approvals_than_the_document() -> None:
    document = {
        "encryption": "none",
        "confirmation": {"approvals": 1},
        "targets": [
            {"name": "a", "secret": "s"},
            {"name": "b", "secret": "s", "confirmation": {"approvals": 0}},
            {"name": "c", "kind": "bucket", "buckets": [{"name": "x"}], "confirmation": {"approvals": 1}},
        ],
    }
    found = Configuration.model_validate(document)

    assert [found.confirmation_of(name).approvals for name in ("a", "b", "c", "gone")] == [1, 0, 1, 1]
    with pytest.raises(ValidationError):
        Configuration.model_validate({**document, "confirmation": {"approvals": 2}})
