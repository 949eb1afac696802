"""`coffre status` with the catalog, the rules and the configuration of a stack, and with a vault alone."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tests.unit.cli.conftest import BUCKET, FAILURE, OUTPUTS, RECIPIENT, Account, Coffre
from ulid import ULID

from coffre.model.backup import Status, Tier
from coffre.model.checkup import CheckResult, Checkup
from coffre.model.drill import DrillSummary, Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.errors import CatalogError
from coffre.model.incident import Incident
from coffre.model.journal import JournalState
from coffre.model.usage import Job, Usage
from coffre.model.vault_use import VaultUse
from coffre.operations.status import gather
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import new_identity, public_key
from coffre.vault.reports import DrillReports
from coffre_cli import screen, stack_choice

RULES = {"daily-databases": "safe-Daily-1", "weekly-drill": "safe-Drill-1", "fresh": "safe-Fresh-1"}


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def note_drill(account: Account, target: str = "shop", outcome: Outcome = Outcome.PASSED, days: float = 2.5) -> None:
    drill = DrillSummary(
        id="01KD0000000000000000000001",
        backup_id="01KB0000000000000000000001",
        target=target,
        outcome=outcome,
        completed_at=ago(days=days),
        restore_seconds=245,
        restore_limit_seconds=None,
    )
    account.catalog.latest.note_drill(drill)


@pytest.fixture(autouse=True)
def rules(account: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stack's rules, each enabled, and an output that names them."""
    events = boto3.client("events")
    for name in RULES.values():
        events.put_rule(Name=name, ScheduleExpression="cron(0 2 * * ? *)", State="ENABLED")
    words = " ".join(f"{job}={rule}" for job, rule in RULES.items())
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: {**OUTPUTS, "Schedules": words})
    return events


@pytest.fixture
def safe(account: Account) -> Account:
    """The target shop, with all that makes it safe."""
    for day in range(3, 0, -1):
        account.backup(created_at=ago(days=day, hours=-21.5), verified_at=ago(hours=1.75))
    note_drill(account)
    account.catalog.recipients.note_use(RECIPIENT, ago(days=40))
    account.catalog.latest.note_vault(
        VaultUse(
            measured_at=ago(hours=7),
            packs=12,
            size_bytes=26_000_000,
            used_bytes=25_000_000,
            needed_bytes=75_000_000,
            plaintext_bytes=200_000_000,
        )
    )
    return account


def test_a_stack_whose_targets_are_safe_ends_with_zero(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.console, "width", 60)
    said = coffre("status")

    lines = said.out.splitlines()
    assert (said.status, said.err) == (0, "")
    assert lines[0] == "The only target, shop, is safe."
    shown = " ".join(lines)
    for words in ("STATE safe", "BACKUP 2 h ago", "LIMIT 28 h", "VERIFIED 1 h ago", "DRILL passed 2 d ago"):
        assert words in shown
    assert "RESTORE 4 min 05 s" in shown
    assert "SIZES ███" in shown
    assert "KEYS 1, 40 d  TRIED never" in shown
    assert "Vault: 26.0 MB in 12 packs; deduplication saves 50.0 MB (measured 7 h ago)" in lines
    assert "Alerts: no open alerts" in lines
    assert coffre("status", "shop").status == 0


def test_scripts_get_everything_in_one_document_with_a_version(coffre: Coffre, safe: Account) -> None:
    said = coffre("status", "--json")

    found = said.json()
    assert (said.status, found["version"], found["standing"], found["reasons"]) == (0, 1, "safe", [])
    [target] = found["targets"]
    assert target["name"] == "shop"
    assert 2.4 < target["age_hours"] < 2.6
    assert (target["limit_hours"], target["sizes"]) == (28, [5_000_012] * 3)
    assert target["drill"]["outcome"] == "passed"
    assert target["next_run_at"].endswith("T02:00:00Z")
    assert [one["job"] for one in found["schedules"]] == list(RULES)
    assert found["saved_bytes"] == 50_000_000


def test_without_any_backup_nothing_is_safe_and_the_cure_is_a_command(coffre: Coffre, account: Account) -> None:
    said = coffre("status")

    assert said.status == 1
    assert said.out.splitlines()[:2] == [
        "The only target, shop, is not safe: shop has no backup.",
        "  coffre backup database shop",
    ]


def test_a_disabled_or_deleted_rule_is_found(
    coffre: Coffre, safe: Account, rules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.console, "width", 60)
    rules.disable_rule(Name="safe-Daily-1")
    rules.delete_rule(Name="safe-Drill-1")

    said = coffre("status")

    assert said.status == 1
    assert "the schedule weekly-drill does not exist any more." in said.out.splitlines()[0]
    assert "Also: the schedule daily-databases is disabled." in said.out
    assert "  aws events enable-rule --name safe-Daily-1" in said.out.splitlines()
    assert "NEXT none" in said.out


def test_an_older_stack_that_does_not_name_its_rules_is_not_called_safe(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: OUTPUTS)

    said = coffre("status")

    assert said.status == 5
    assert said.out.startswith("Whether the only target, shop, is safe is not known: the schedules could not be read: ")
    assert coffre("status", "--json").json()["unread"][0]["what"] == "schedules"


def test_what_one_may_not_read_is_said_and_never_called_safe(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CatalogError("The catalog table did not answer Query.", detail="AccessDeniedException")

    monkeypatch.setattr("coffre.catalog.latest_results.Latest.drills_and_rehearsals", refuse)
    monkeypatch.setattr("coffre.catalog.latest_results.Latest.vault", refuse)

    said = coffre("status")

    assert said.status == 5
    assert "the drills could not be read" in said.out
    assert "Not read: the vault: The catalog table did not answer Query. AccessDeniedException" in said.out


def test_a_stack_that_does_not_answer_is_an_error(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CatalogError("The catalog table did not answer Query.", detail="Timeout")

    monkeypatch.setattr("coffre.catalog.catalog.Catalog.newest", refuse)

    said = coffre("status")

    assert (said.status, said.out) == (1, "")
    assert "The catalog table did not answer Query." in said.err


def test_open_alerts_are_listed_and_a_critical_one_is_a_reason(coffre: Coffre, safe: Account) -> None:
    for kind in ("SIZE_ANOMALY", "VAULT_INCONSISTENT", "KIND_OF_A_LATER_VERSION"):
        since = ago(hours=3)
        incident = Incident(
            target="shop", kind=kind, fingerprint="x", subject=f"{kind}!", since=since, seen_at=since, told_at=since
        )
        assert safe.catalog.incidents.replace(None, incident)

    said = coffre("status")

    assert said.status == 1
    assert "  See docs/runbooks/VAULT_INCONSISTENT.md." in said.out.splitlines()
    assert "a critical alert is open: KIND_OF_A_LATER_VERSION!" in said.out
    assert "Alerts: 3 open ones: " in said.out
    assert "SIZE_ANOMALY of shop 3 h ago" in said.out


def test_good_and_verified_backups_below_many_failures_are_found(coffre: Coffre, account: Account) -> None:
    good = account.backup(created_at=ago(hours=25), verified_at=ago(hours=20))
    note_drill(account)
    for number in range(gather.RECENT):
        account.backup(Status.FAILED, created_at=ago(hours=20, minutes=-number))

    found = coffre("status", "--json").json()

    [target] = found["targets"]
    assert target["last_backup"] == good.id
    assert target["verified_at"] is not None
    assert [reason["code"] for reason in found["reasons"]] == ["LAST_RUN_FAILED"]
    assert FAILURE.message in found["headline"]


def test_the_newest_checkups_are_counted(coffre: Coffre, safe: Account) -> None:
    found = {"state": "finding", "sentence": "It is so.", "docs": "docs/doctor.md"}
    results = (
        CheckResult.model_validate({"code": "CLIENT_OLDER", "severity": "warning", **found}),
        CheckResult.model_validate({"code": "CLOCK_SKEW", "severity": "note", **found, "state": "could_not_look"}),
    )
    safe.catalog.checkups.keep(Checkup.of(ago(days=3, hours=1), "shop", results))
    safe.catalog.checkups.keep(Checkup.of(ago(days=3, hours=1), "removed", results))

    said = coffre("status")

    assert "Doctor: shop 1 warning, 1 not seen, 3 d ago (coffre doctor)" in said.out.splitlines()
    [checkup] = coffre("status", "--json").json()["checkups"]
    assert (checkup["warnings"], checkup["blockers"], checkup["unseen"]) == (["CLIENT_OLDER"], [], 1)


def test_the_journal_of_a_target_is_read_where_one_is_configured(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Journal of" not in coffre("status").out
    document = json.loads(boto3.client("ssm").get_parameter(Name="configuration")["Parameter"]["Value"])
    document["targets"][0]["journal"] = {"window_days": 3}
    boto3.client("ssm").put_parameter(Name="configuration", Value=json.dumps(document), Overwrite=True)
    state = JournalState(target="shop", interval="01", seen_at=ago(minutes=4), drained_at=ago(minutes=4))
    assert safe.catalog.journals.keep(state, None) is not None

    line = "Journal of shop: moments of 3 days, the newest 4 min ago; nothing drains it, since the stack's parameter"
    assert f"{line} Journal is off" in coffre("status").out
    assert "The journal of shop does nothing: the stack's parameter Journal is off." in coffre("config", "check").out

    def refuse(*_: object) -> None:
        raise CatalogError("The catalog table did not answer Query.")

    monkeypatch.setattr("coffre.catalog.journals.Journals.all", refuse)
    unread = coffre("status")
    assert (unread.status, "Not read: the journals: The catalog table did not" in unread.out) == (0, True)


def test_what_this_month_cost_is_said_and_unread_counts_make_nothing_unsafe(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Cost: " not in coffre("status").out
    used = Usage(id=str(ULID()), job=Job.BACKUP, target="shop", at=ago(), invocations=1, vault_writes=100_000)
    safe.catalog.usages.add(used)

    said = coffre("status")

    [line] = [line for line in said.out.splitlines() if line.startswith("Cost: ")]
    assert re.fullmatch(
        r"Cost: about \$0\.\d\d this month until now, \$[\d,]+\.\d\d for all of it \(coffre cost\)", line
    )
    assert float(coffre("status", "--json").json()["cost"]["until_now"]) >= 0.5

    def refuse(*_: object) -> None:
        raise CatalogError("The catalog table did not answer Query.")

    monkeypatch.setattr("coffre.catalog.usages.Usages.between", refuse)
    unread = coffre("status")
    assert (unread.status, "Not read: the cost: The catalog table did not answer Query." in unread.out) == (0, True)


def test_a_key_counts_as_tried_when_it_opened_a_backup_of_any_target(coffre: Coffre, safe: Account) -> None:
    offline = public_key(new_identity())
    safe.configure("shop", "crm", recipients=[RECIPIENT, offline])
    for days, target, action in ((9, "crm", "key.opened"), (2, "crm", "key.exported"), (30, "shop", "key.opened")):
        detail = f"backup 01K9X000000000000000000000 of {target}"
        safe.catalog.audit.record(ago(days=days, hours=1), "ada", action, None, RECIPIENT, detail)

    [shop] = coffre("status", "shop", "--json").json()["targets"]

    assert shop["keys_opened"].keys() == {RECIPIENT, offline}
    assert shop["keys_opened"][offline] is None
    assert datetime.fromisoformat(shop["keys_opened"][RECIPIENT]).date() == ago(days=9, hours=1).date()
    assert "TRIED 1 of 2" in " ".join(coffre("status", "shop").out.split())


def test_a_backup_that_was_never_verified_is_judged_by_the_first_one_on_record(
    coffre: Coffre, account: Account
) -> None:
    account.backup(Status.DELETED, created_at=ago(days=40))
    account.backup(created_at=ago(hours=2))

    codes = [reason["code"] for reason in coffre("status", "--json").json()["reasons"]]

    assert codes == ["VERIFY_OVERDUE", "DRILL_OVERDUE"]


def test_a_safety_backup_is_no_proof(coffre: Coffre, account: Account) -> None:
    account.backup(created_at=ago(hours=1), tiers=(Tier.SAFETY,))

    assert coffre("status", "--json").json()["reasons"][0]["code"] == "NO_BACKUP"


def test_a_record_that_was_changed_by_hand_makes_its_target_alone_unsafe(coffre: Coffre, safe: Account) -> None:
    safe.configure("shop", "crm")
    table = boto3.resource("dynamodb").Table("catalog")
    table.put_item(Item={"pk": "BACKUP", "sk": "01X", "target_key": "BACKUP#crm", "status_key": "BACKUP#COMPLETED"})

    said = coffre("status")

    assert said.status == 1
    assert said.out.startswith("1 of 2 targets is not safe: the records of crm could not be read: ")


def test_the_first_answer_is_about_the_targets_that_are_named(coffre: Coffre, safe: Account) -> None:
    safe.configure("shop", "crm")

    assert coffre("status", "shop").status == 0
    assert coffre("status", "shop", "crm", "shop").out.startswith("1 of 2 targets is not safe: crm has no backup.")
    unknown = coffre("status", "nosuch")
    assert (unknown.status, unknown.out) == (1, "")
    assert "[TARGET_UNKNOWN]" in unknown.err


@pytest.mark.parametrize(("looks", "status"), [(2, 0), (0, 130)])
def test_watching_looks_again_until_ctrl_c_and_ends_with_what_it_saw_last(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch, looks: int, status: int
) -> None:
    calls: list[float] = []

    def sleep(seconds: float) -> None:
        calls.append(seconds)
        if len(calls) >= looks:
            raise KeyboardInterrupt

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    if not looks:
        monkeypatch.setattr("coffre_cli.commands.status.status.look", interrupted)

    said = coffre("status", "--watch")

    assert (said.status, said.err) == (status, "")
    assert said.out.count("The only target, shop, is safe.") == looks
    assert said.out.count("Ctrl-C ends it.") == looks


def test_watching_shows_an_error_and_looks_again(
    coffre: Coffre, safe: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CatalogError("The catalog table did not answer Query.")

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre_cli.commands.status.status.look", refuse)
    monkeypatch.setattr(time, "sleep", stop)

    said = coffre("status", "--watch")

    assert (said.status, said.out) == (1, "")
    assert "The catalog table did not answer Query." in said.err


def test_watching_writes_no_json(coffre: Coffre, safe: Account) -> None:
    said = coffre("status", "--watch", "--json")

    assert (said.status, said.out) == (2, "")
    assert "--json" in said.err


def test_a_vault_alone_says_what_it_has_and_what_cannot_be_known(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    report = DrillReport(
        id="01KD0000000000000000000001",
        backup_id=backup.id,
        target="shop",
        outcome=Outcome.PASSED,
        backup_created_at=backup.created_at,
        started_at=ago(hours=2),
        completed_at=ago(hours=1.5),
        coffre_version="1",
        restore_seconds=12.5,
    )
    DrillReports(S3Store(BUCKET, client=make_client())).write(report, "")

    said = coffre("--vault", f"s3://{BUCKET}", "status")

    assert said.status == 5
    assert said.out.startswith("Whether the only target, shop, is safe is not known: a vault alone has no schedules")
    found = coffre("--vault", f"s3://{BUCKET}", "status", "shop", "--json").json()
    [target] = found["targets"]
    assert (target["last_backup"], target["standing"], target["limit_hours"]) == (backup.id, "unknown", None)
    assert target["drill"]["restore_seconds"] == 12.5
    assert [reason["code"] for reason in found["reasons"]] == ["VAULT_ALONE"]


def test_a_damaged_backup_in_a_vault_alone_is_not_safe(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    boto3.client("s3").put_object(Bucket=BUCKET, Key=backup.manifest_key or "", Body=b"{}")

    said = coffre("--vault", f"s3://{BUCKET}", "status")

    assert said.status == 1
    assert said.out.startswith("The only target, shop, is not safe: the records of shop could not be read: ")
    assert f"Not all of backup {backup.id} can be read" in said.err
