"""What is safe, and what is never called so: each condition alone, its words, and its cure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.safety_scene import NOW, alert, buckets, database, drill, facts, run, schedule

from coffre.model.backup import Status, Tier
from coffre.model.bucket_target import BucketTarget
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.drill import Outcome
from coffre.model.drill_options import BucketDrill
from coffre.model.server import SeenDatabase
from coffre.model.status import Standing
from coffre.model.status_facts import Facts, Source, TargetFacts, Unread
from coffre.policy.safety import headline, reasons, standing
from coffre.policy.status_report import report_of

DAMAGED: dict[str, Any] = {"damaged_at": NOW, "damage": "A pack is gone."}
OLD = run(82, verified_at=NOW)
LAST_FAILED = run(2, Status.FAILED)
UNVERIFIED = run(10)


def codes(found: Facts) -> list[str]:
    return [reason.code for reason in reasons(found)]


def said(found: Facts) -> str:
    return headline(reasons(found), found.names)


def test_targets_whose_backups_are_recent_verified_and_drilled_are_safe() -> None:
    assert reasons(facts()) == ()
    assert said(facts()) == "Both targets are safe."
    assert said(facts(database())) == "The only target, shop, is safe."


def test_of_a_database_that_its_server_dropped_nothing_is_expected() -> None:
    late = database(recent=(OLD,), good=OLD, verified=OLD)
    assert late.target is not None
    seen = SeenDatabase("shop", "srv", "shop", NOW, gone_since=NOW)
    gone = replace(late, target=FoundDatabase.of(cast(DatabaseTarget, late.target), seen))

    assert codes(facts(late)) == ["BACKUP_OVERDUE"]
    assert codes(facts(gone)) == []
    (shown,) = report_of(facts(gone)).targets
    assert (shown.limit_hours, shown.next_run_at) == (None, None)


@pytest.mark.parametrize(
    ("code", "target", "sentence", "cure"),
    [
        (
            "NO_BACKUP",
            database(recent=(), good=None, verified=None, drill=None),
            "shop has no backup.",
            "coffre backup database shop",
        ),
        (
            "NO_BACKUP",
            buckets(recent=(), good=None, verified=None, drill=None),
            "photos has no backup.",
            "coffre backup buckets photos",
        ),
        (
            "ALL_DAMAGED",
            database(recent=(run(10, id="01A", **DAMAGED),), good=None, verified=None),
            "every backup of shop is damaged; the newest is 01A.",
            "coffre backup database shop",
        ),
        (
            "BACKUP_OVERDUE",
            database(recent=(OLD,), good=OLD, verified=OLD),
            "shop has had no backup since Wednesday 02:00 UTC.",
            "coffre backup database shop",
        ),
        (
            "NEWEST_DAMAGED",
            database(recent=(run(9, id="01B", **DAMAGED), *database().recent)),
            "the newest backup of shop, 01B, is damaged.",
            "coffre backup database shop",
        ),
        (
            "LAST_RUN_FAILED",
            database(recent=(LAST_FAILED, *database().recent)),
            "the last backup of shop failed: The server refused. [CONNECTION_REFUSED]",
            f"coffre show {LAST_FAILED.id}",
        ),
        (
            "VERIFY_OVERDUE",
            database(verified=run(24 * 9, verified_at=NOW)),
            "the newest verified backup of shop is from 19 November.",
            "coffre verify --level read --target shop",
        ),
        (
            "VERIFY_OVERDUE",
            database(verified=None, first_at=NOW - timedelta(days=9)),
            "no backup of shop has ever been verified.",
            "coffre verify --level read --target shop",
        ),
        (
            "DRILL_FAILED",
            database(drill=drill(3, Outcome.FAILED, problem="orders: 3 rows differ.")),
            "the last drill of shop failed on Wednesday 12:00 UTC: orders: 3 rows differ.",
            "coffre report 01KB0000000000000000000001",
        ),
        (
            "DRILL_OVERDUE",
            database(drill=drill(33)),
            "shop has no drill since 26 October.",
            "coffre verify --level drill latest --target shop",
        ),
        (
            "DRILL_OVERDUE",
            database(drill=None, first_at=NOW - timedelta(days=33)),
            "shop has no drill on record.",
            "coffre verify --level drill latest --target shop",
        ),
        (
            "RECORDS_UNREAD",
            database(unread="The catalog's record is damaged."),
            "the records of shop could not be read: The catalog's record is damaged.",
            "coffre list shop",
        ),
    ],
)
def test_a_target_is_not_safe_and_the_reason_names_its_cure(
    code: str, target: TargetFacts, sentence: str, cure: str
) -> None:
    other = database("crm")

    [found] = reasons(facts(target, other))

    assert (found.code, found.standing, found.targets) == (code, Standing.NOT_SAFE, (target.name,))
    assert (found.sentence, found.cure) == (sentence, cure)
    assert (standing([found], target.name), standing([found], "crm")) == (Standing.NOT_SAFE, Standing.SAFE)
    assert said(facts(target, other)) == f"1 of 2 targets is not safe: {sentence}"
    assert said(facts(target)) == f"The only target, {target.name}, is not safe: {sentence}"


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(database(recent=(run(1, Status.IN_PROGRESS), *database().recent)), id="one is running"),
        pytest.param(database(recent=(*database().recent, run(400, Status.FAILED))), id="one failed long ago"),
        pytest.param(
            database(recent=(run(2, Status.FAILED, tiers=(Tier.SAFETY,)), *database().recent)), id="a safety one failed"
        ),
        pytest.param(
            database(recent=(run(2, **DAMAGED, tiers=(Tier.SAFETY,)), *database().recent)), id="a safety one is damaged"
        ),
        pytest.param(database(verified=None, first_at=NOW - timedelta(days=2)), id="too young to be verified"),
        pytest.param(database(drill=None, first_at=NOW - timedelta(days=2)), id="too young to be drilled"),
        pytest.param(database(drill=drill(outcome=Outcome.INCOMPLETE)), id="a restore leaves something out"),
        pytest.param(database(drill=drill(outcome=Outcome.NOT_POSSIBLE)), id="a drill was not possible"),
        pytest.param(
            buckets(
                target=BucketTarget.model_validate(
                    {"name": "photos", "kind": "bucket", "buckets": [{"name": "p"}], "drill": BucketDrill(objects=0)}
                ),
                drill=None,
                first_at=NOW - timedelta(days=400),
            ),
            id="drills are switched off",
        ),
    ],
)
def test_what_is_no_reason(target: TargetFacts) -> None:
    assert codes(facts(target)) == []


def test_a_disabled_schedule_makes_those_unsafe_whom_it_serves() -> None:
    off: dict[str, Any] = {"state": "disabled", "rule": "safe-Rule-1"}

    [of_databases] = reasons(facts(schedules=(schedule("weekly-databases", **off),)))
    [of_all] = reasons(facts(schedules=(schedule("weekly-drill", state="missing"),)))

    assert (of_databases.code, of_databases.targets) == ("SCHEDULE_DISABLED", ("shop",))
    assert of_databases.sentence == "the schedule weekly-databases is disabled."
    assert of_databases.cure == "aws events enable-rule --name safe-Rule-1"
    assert (of_all.code, of_all.targets) == ("SCHEDULE_MISSING", ("shop", "photos"))
    assert of_all.sentence == "the schedule weekly-drill does not exist any more."
    assert reasons(facts(database(), schedules=(schedule("weekly-buckets", **off),))) == ()
    found = facts(schedules=(schedule("fresh", **off),))
    assert said(found) == "Neither target is safe: the schedule fresh is disabled."


def test_a_critical_alert_is_a_reason_unless_the_records_say_the_same() -> None:
    [of_one] = reasons(facts(alerts=(alert("RESTORE_FAILED"), alert("SIZE_ANOMALY", severity="warning"))))
    [of_all] = reasons(facts(alerts=(alert("CONFIG_INVALID", "-", subject="The configuration is invalid"),)))
    failed = database(recent=(LAST_FAILED, *database().recent))

    assert (of_one.code, of_one.targets, of_one.cure) == (
        "RESTORE_FAILED",
        ("shop",),
        "see docs/runbooks/RESTORE_FAILED.md",
    )
    assert of_all.targets == ("shop", "photos")
    assert of_all.sentence == "a critical alert is open: The configuration is invalid."
    assert codes(facts(failed, alerts=(alert("BACKUP_FAILED"),))) == ["LAST_RUN_FAILED"]
    assert codes(facts(alerts=(alert("BACKUP_FAILED"),))) == ["BACKUP_FAILED"]
    assert codes(facts(alerts=(alert("BACKUP_FAILED", "removed"),))) == []


@pytest.mark.parametrize("source", [Source.ALERTS, Source.SCHEDULES, Source.DRILLS, Source.COPIES])
def test_what_could_not_be_read_is_never_called_safe(source: Source) -> None:
    found = facts(unread=(Unread(what=source, why="AccessDenied"),))

    [reason] = reasons(found)

    assert (reason.code, reason.standing) == (f"{source.upper()}_UNREAD", Standing.UNKNOWN)
    assert said(found) == (f"Whether the 2 targets are safe is not known: the {source} could not be read: AccessDenied")
    assert standing(reasons(found), "shop") is Standing.UNKNOWN


def test_what_decides_nothing_may_be_unread() -> None:
    unread = tuple(Unread(what=source, why="AccessDenied") for source in (Source.KEYS, Source.VAULT))

    assert reasons(facts(unread=unread)) == ()


def test_a_drill_that_could_not_be_looked_up_is_not_called_overdue() -> None:
    unread = (Unread(what=Source.DRILLS, why="AccessDenied"),)
    target = database(drill=None, first_at=NOW - timedelta(days=400))

    assert codes(facts(target, unread=unread)) == ["DRILLS_UNREAD"]


def test_a_vault_alone_is_never_called_safe_and_what_is_wrong_in_it_is_said() -> None:
    alone = replace(database(), target=None)
    damaged = replace(alone, recent=(run(10, **DAMAGED),), good=None)

    good, bad = (facts(one, has_stack=False, schedules=(), vault=None) for one in (alone, damaged))

    assert codes(good) == ["VAULT_ALONE"]
    assert said(good).startswith("Whether the only target, shop, is safe is not known: a vault alone has no ")
    assert codes(bad) == ["ALL_DAMAGED", "VAULT_ALONE"]
    assert standing(reasons(bad)) is Standing.NOT_SAFE


def test_where_nothing_is_protected_nothing_is_safe() -> None:
    nothing = Facts(now=NOW, targets=())

    [reason] = reasons(nothing)

    assert (reason.code, reason.standing) == ("NO_TARGET", Standing.NOT_SAFE)
    assert said(nothing) == "Nothing is safe: no target is known, so nothing is backed up."
    assert standing(reasons(nothing)) is Standing.NOT_SAFE


def test_the_worst_comes_first() -> None:
    found = facts(
        database("crm", drill=drill(33)),
        database(recent=(), good=None, verified=None, drill=None),
        buckets(),
        alerts=(alert("VAULT_INCONSISTENT", "-"),),
        unread=(Unread(what=Source.SCHEDULES, why="AccessDenied"),),
    )

    assert codes(found) == ["NO_BACKUP", "VAULT_INCONSISTENT", "DRILL_OVERDUE", "SCHEDULES_UNREAD"]
    assert said(found) == "None of 3 targets is safe: shop has no backup."


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "good": st.sampled_from([None, OLD]),
        "verified": st.sampled_from([None, OLD]),
        "drill": st.sampled_from([None, drill(40), drill(1, Outcome.FAILED)]),
        "unread": st.just("It is damaged."),
        "first_at": st.just(NOW - timedelta(days=400)),
    },
)


@given(_FIELDS)
def test_whatever_is_wrong_with_a_target_is_neither_hidden_nor_pinned_on_another(fields: dict[str, Any]) -> None:
    wrong = {name: value for name, value in fields.items() if name != "first_at"}

    found = reasons(facts(replace(database(), **fields), database("crm")))

    is_bad = bool(wrong) and wrong != {"verified": OLD}
    if set(wrong) <= {"verified", "drill"} and "first_at" not in fields:
        is_bad = wrong.get("drill") is not None  # never done, and nothing says since when it could have been
    assert (standing(found, "shop") is Standing.NOT_SAFE) == is_bad
    assert standing(found, "crm") is Standing.SAFE
