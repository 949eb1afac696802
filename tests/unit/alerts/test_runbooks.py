"""Every kind of alert has a runbook, every message names it, and what both say to type can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.unit.alerts.test_alert import FAILURE, GOOD, NOW, RESTORE, TAKEN, failures, findings
from tests.unit.policy.report_scene import bad_week, week

from coffre.alerts.accesses import accesses_unknown, vault_accessed
from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.anomalies import (
    certificate_expires,
    duration_exceeded,
    encryption_off,
    key_rotation_due,
    quota_near,
    size_anomaly,
    success_rate_low,
)
from coffre.alerts.approvals import approval_needed
from coffre.alerts.audit import audit_anchored, audit_broken, audit_failed, request_refused
from coffre.alerts.console import console_refused
from coffre.alerts.copies import copy_failed, copy_overdue
from coffre.alerts.journals import journal_ended, journal_late, journal_limited, journal_not_equal, journal_stopped
from coffre.alerts.objectives import objective_missed
from coffre.alerts.report import report_mail
from coffre.alerts.runs import SAFE_UNKNOWN, restore_completed, safe_backups
from coffre.alerts.servers import databases_found, databases_gone, names_unreadable
from coffre.alerts.verification import doctor_blocker
from coffre.model.access import AccessAction, AccessGroup
from coffre.model.audit import Actor, Anchor, Head
from coffre.model.checkup import CheckResult, Severity, State
from coffre.model.confirmation import Act, Facts, IssuedPlan, Plan, Request, Seen
from coffre.model.copies import Destination
from coffre.model.journal import IntervalEnd, JournalEnd, JournalGap, JournalState
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Objective
from coffre.model.server import SeenDatabase
from coffre.model.status import Gap, Measured
from coffre.policy.anomaly import Deviation, Rate
from coffre.policy.audit_chain import Finding
from coffre.policy.report import report_of
from coffre_cli.app import app

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
# What a person decides to do: no alert tells it.
PROCEDURES = {"ADOPT_A_VAULT"}


def anomalies() -> list[Alert]:
    found = [Deviation("plaintext", "bytes", 10, 5e9), Deviation("public.orders", "count", 0, 1000.0)]
    return [
        size_anomaly(GOOD, found, before=GOOD, compared=10, noun="rows"),
        size_anomaly(
            GOOD.model_copy(update={"kind": TargetKind.BUCKET}), found[:1], before=GOOD, compared=3, noun="objects"
        ),
        duration_exceeded(GOOD, took=NOW - TAKEN, limit=(NOW - TAKEN) / 2),
        success_rate_low("shop", Rate(27, 3), wanted_percent=99, safe=SAFE_UNKNOWN),
        quota_near(900, 1000),
        key_rotation_due({"age1" + "q" * 58: TAKEN}, 90),
        certificate_expires("shop", "db.example.org", "CN=an authority", TAKEN),
        encryption_off(),
        *accesses(),
    ]


def accesses() -> list[Alert]:
    group = AccessGroup(
        principal="arn:aws:iam::123456789012:user/mallory\x1b",
        day="2026-11-27",
        action=AccessAction.READ,
        requests=1_002,
        refused=2,
        first_at=TAKEN,
        last_at=NOW,
        keys=("v1/packs/a", "v1/packs/b\u202e"),
        ips=("192.0.2.1",),
    )
    changed = ({"action": action} for action in AccessAction if action is not AccessAction.LOOK)
    of_each = [vault_accessed(group.model_copy(update=change)) for change in changed]
    return [*of_each, vault_accessed(group.model_copy(update={"principal": "-"})), accesses_unknown(NOW, "No log.")]


def audits() -> list[Alert]:
    heads = (Head(shard="-", sequence=3, hash="a" * 64), Head(shard="shop", sequence=15, hash="b" * 64))
    return [
        request_refused(Actor("ana"), "restore.started", FAILURE, NOW, target="shop"),
        request_refused(Actor("arn:aws:iam::1:user/ana", verified=True), "request.refused", FAILURE, NOW),
        audit_failed("backup.taken", FAILURE, target="shop", subject=GOOD.id),
        audit_broken(
            [Finding("EVENT_MISSING", "shop", 12, "Event 12 is missing."), Finding("ANCHOR_STALE", "", None, "x")]
        ),
        console_refused("192.0.2.1", "a key that does not exist", 5, 10, NOW),
        *approvals(),
        audit_anchored(Anchor(id="01KB3M7Q0000000000000000A1", at=NOW, heads=heads)),
    ]


def servers() -> list[Alert]:
    odd = SeenDatabase("srv-odd-0123456789", "srv", 'O"dd\n\u202ename', TAKEN)
    plain = SeenDatabase("srv-shop", "srv", "shop", TAKEN)
    return [
        databases_found("srv", [odd, plain]),
        databases_gone("srv", [plain], [odd], {"srv-shop": safe_backups(GOOD, None)}),
        databases_gone("srv", [], [odd], {}),
        names_unreadable("srv", ["caf\\xe9"]),
    ]


def checkups() -> list[Alert]:
    found = CheckResult(
        code="ROLE_CANNOT_READ",
        severity=Severity.BLOCKER,
        state=State.FINDING,
        subject='public."o\u202edd"',
        sentence="The role cannot read 1 table.",
        cure="GRANT SELECT ON public.orders TO coffre_backup;",
        docs="docs/doctor.md#role_cannot_read",
    )
    return [doctor_blocker("shop", [found], request_id="r"), doctor_blocker("shop", [found, found], request_id="r")]


def objectives() -> list[Alert]:
    gap = Gap(since=TAKEN, until=NOW)
    objective = Objective(rpo_minutes=1, rto_minutes=15)
    both = Measured(objective=objective, worst=gap, restore_seconds=5_000, rpo_missed=True, rto_missed=True)
    return [
        objective_missed("shop", both, safe=SAFE_UNKNOWN),
        objective_missed("shop", both.model_copy(update={"rpo_missed": None}), safe=safe_backups(GOOD, None)),
    ]


def approvals() -> list[Alert]:
    """Return an alert for each act that may need a second person."""
    found = []
    for act, target in ((Act.RESTORE, "shop"), (Act.DELETION, "shop"), (Act.CONFIGURATION, "")):
        scope = {"rows": {"where": "card = '4111'"}}
        request = Request(act=act, target=target, backup_id=GOOD.id, manifest_sha256="a" * 64, scope=scope)
        plan = Plan(request=request, seen=Seen(destination="db:5432/shop as app", name="shop", facts=Facts()))
        issued = IssuedPlan(
            id="1f" * 32, plan=plan, plan_sha256=plan.sha256, actor="anna (console)", verified=True, made_at=NOW,
            expires_at=NOW, approvals=1, further={"destination": "coffre/database/other"},
        )  # fmt: skip
        found.append(approval_needed(issued, "https://backups.example.com"))
    return found


def test_an_alert_about_a_plan_leads_to_its_page_and_has_nothing_of_its_conditions() -> None:
    restore, deletion, configuration = approvals()

    assert f"https://backups.example.com/approvals/{'1f' * 32}" in restore.text
    assert f"https://backups.example.com/approvals/{'1f' * 32}" in deletion.text
    assert ("https://" in configuration.text, configuration.target) == (False, "-"), "only the command approves it"
    assert all("coffre approve 1f1f1f1f1f1f\n" in one.text for one in (restore, deletion, configuration))
    assert not any("4111" in one.text or "coffre/database" in one.text for one in (restore, deletion, configuration))


def reports() -> list[Alert]:
    return [report_mail(report_of(one), "v1/reports/x.html", with_contacts=True) for one in (week(), bad_week())]


def copies() -> list[Alert]:
    place = {"name": "offsite", "store": {"type": "directory", "path": "/mnt/nas"}}
    own = Destination.model_validate(place)
    others = Destination.model_validate({**place, "copied_by": "replication"})
    return [
        copy_failed("offsite", "shop", FAILURE, request_id="r"),
        copy_overdue(own, "shop", [GOOD], NOW),
        copy_overdue(others, "shop", [GOOD], NOW),
    ]


def journals() -> list[Alert]:
    of_database = JournalState(target="shop", error="CONNECTION_REFUSED", message="No server.", seen_at=TAKEN)
    ends = [
        IntervalEnd(reason=reason, stored_lsn=1, seen_at=seen_at, ended_at=NOW, about=('public."o\u202edd"',))
        for reason in JournalEnd
        for seen_at in (TAKEN, None)
    ]
    return [
        journal_stopped("shop", FAILURE, request_id="r"),
        journal_late("shop", of_database, TAKEN),
        journal_late("shop", None, TAKEN),
        journal_limited("shop", [LIMIT, LIMIT.model_copy(update={"evidence": None})]),
        journal_not_equal(NOT_EQUAL, request_id="r"),
        *(
            journal_ended("shop", "01KB3M7Q0000000000000000A1", end, gap)
            for end in ends
            for gap in (JournalGap(since=end.seen_at, ended=1), JournalGap(since=TAKEN, ended=3))
        ),
    ]


LIMIT = CheckResult(
    code="JOURNAL_NO_IDENTITY",
    severity=Severity.WARNING,
    state=State.FINDING,
    sentence="An UPDATE or DELETE in one of 1 tables ends what the journal can restore.",
    evidence='public."o\u202edd"',
    cure="Give the tables a primary key.",
    docs="docs/doctor.md#journal_no_identity",
)
NOT_EQUAL = JournalProof(
    verdict=ProofVerdict.NOT_EQUAL,
    target="shop",
    drill_id="01KB3M7Q0000000000000000D1",
    proven_at=NOW,
    newer="01KB3M7Q0000000000000000B2",
    until=NOW,
    interval="01KB3M7Q0000000000000000A1",
    older="01KB3M7Q0000000000000000B1",
    since=TAKEN,
    differences=('public."o\u202edd": 1 rows by the journal, 2 in the backup.',),
)
ALERTS = [
    *journals(),
    *objectives(),
    *reports(),
    *failures(FAILURE),
    *findings(),
    *anomalies(),
    *audits(),
    *servers(),
    *checkups(),
    *copies(),
    restore_completed(RESTORE),
]


def test_there_is_an_alert_of_every_kind_here() -> None:
    assert {alert.kind for alert in ALERTS} == set(AlertKind)


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_kind_has_a_runbook_that_says_what_is_safe_and_what_to_do(kind: AlertKind) -> None:
    text = (ROOT / kind.runbook).read_text()

    assert text.startswith(f"# {kind.value}\n")
    assert len(text) > 300
    assert "coffre " in text


def test_there_is_no_runbook_of_a_kind_that_is_never_told() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {kind.value for kind in AlertKind} | PROCEDURES


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_every_message_names_its_runbook(alert: Alert) -> None:
    assert alert.text.splitlines()[-1] == f"Runbook: {alert.kind.runbook}"


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_every_code_of_a_runbook_is_one_that_there_is(path: Path) -> None:
    known = known_codes()

    for code, star in re.findall(r"`([A-Z]+_[A-Z_]*)(\*?)`", path.read_text()):
        assert any(one.startswith(code) for one in known) if star else code in known, code


@cache
def known_codes() -> frozenset[str]:
    sources = [*(ROOT / "layers" / "coffre").rglob("*.py"), ROOT / "template.yaml"]
    return frozenset(code for source in sources for code in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", source.read_text()))


# --- what there is to type ---


def commands_of(alert: Alert) -> list[str]:
    return [line.strip() for line in alert.text.splitlines() if line.startswith("    coffre ")]


def commands_in(text: str) -> Iterator[str]:
    """Yield the commands of a document: those in lines of code, and those between backticks."""
    yield from re.findall(r"^(?:\$ )?(coffre [a-z][^\n#]*)", text, flags=re.MULTILINE)
    yield from re.findall(r"`(coffre [a-z][^`]*)`", text)


@cache
def whole_command() -> Any:
    return typer.main.get_command(app)


def assert_can_be_typed(command: str) -> None:
    group = whole_command()
    words = shlex.split(re.sub(r"\s+", " ", command))[1:]
    while words and hasattr(group, "commands") and words[0] in group.commands:
        group = group.commands[words.pop(0)]
    is_command = not hasattr(group, "commands") or getattr(group, "invoke_without_command", False)
    assert is_command, f"{command}: {words[:1]} is no command"
    known = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    assert [word for word in words if word.startswith("--") and word.split("=")[0] not in known] == [], command


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_the_commands_of_every_message_exist(alert: Alert) -> None:
    for command in commands_of(alert):
        assert_can_be_typed(command)


@pytest.mark.parametrize("path", [*sorted(RUNBOOKS.glob("*.md")), ROOT / "docs" / "alerts.md"], ids=lambda p: p.stem)
def test_the_commands_of_every_runbook_exist(path: Path) -> None:
    for command in commands_in(path.read_text()):
        assert_can_be_typed(command)
