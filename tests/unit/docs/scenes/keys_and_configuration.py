"""docs/keys.md, docs/configuration.md, docs/status.md, docs/report.md and docs/install.md."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from tests import snapshots
from tests.unit.cli.config.conftest import Scene as Configuration
from tests.unit.cli.conftest import BUCKET, OUTPUTS
from tests.unit.cli.keys.conftest import Keys
from tests.unit.cli.status.test_show import SCENES as STATUS
from tests.unit.docs.scenes import Stage, scene
from tests.unit.policy.report_scene import week

from coffre.model.checkup import CheckResult, Severity, State
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.kinds import TargetKind
from coffre.model.report import Period
from coffre.model.usage import Job, Usage
from coffre.policy.report import report_of as weekly_report_of
from coffre.policy.status_report import report_of
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.reports import DrillReports
from coffre_cli.commands.backups import cost
from coffre_cli.commands.init.prove import Findings, await_mail, conclude, prove
from coffre_cli.deployed import DeployedStack


@scene("docs/keys.md#Which backups need which key", "coffre keys list")
def a_list_of_keys(stage: Stage) -> None:
    keys: Keys = stage.fixture("keys")
    keys.configure(keys.main, keys.offline, files=[keys.main])
    for _ in range(41):
        keys.back_up(keys.main, keys.offline)
    for _ in range(13):
        keys.back_up(keys.main, target="files")


@scene("docs/keys.md#Do the keys open the backups?", "coffre keys check --identity ./offline.txt")
def a_check_of_keys(stage: Stage) -> None:
    keys: Keys = stage.fixture("keys")
    keys.back_up(keys.main, keys.offline)
    Path("offline.txt").write_text(keys.offline.identity)


@scene("docs/configuration.md#Change it", "coffre config set new.json --dry-run")
def a_change(stage: Stage) -> None:
    configuration: Configuration = stage.fixture("configuration")
    [shop] = configuration.template["targets"]
    new = configuration.document(targets=[{**shop, "retention": {"daily_days": 3}}], vault_quota_bytes=500_000_000_000)
    Path("new.json").write_text(json.dumps(new, indent=2))
    stage.after = lambda: configuration.versions == []


@scene("docs/status.md#Status: are all targets safe?", "coffre status", status=1)
def a_status(stage: Stage) -> None:
    snapshots.at_terminal(stage.monkeypatch, 80)
    stage.monkeypatch.setattr("coffre_cli.commands.status.status.look", lambda *_: report_of(STATUS["status-sample"]))


@scene("docs/report.md#The report", "coffre report weekly")
def a_week(stage: Stage) -> None:
    snapshots.at_terminal(stage.monkeypatch, 100)
    found = weekly_report_of(replace(week(), periods=(Period.WEEKLY,)))
    stage.monkeypatch.setattr("coffre_cli.commands.verify.period_report._look", lambda *_: found)


@scene("docs/cost.md#What backups cost", "coffre cost")
def a_month(stage: Stage) -> None:
    now = datetime(2026, 10, 16, 12, tzinfo=UTC)
    stage.monkeypatch.setattr(cost, "_now", lambda: now)
    for days in (2, 1):
        backup = stage.account.backup(created_at=now - timedelta(days=days))
    usage = Usage(
        id=backup.id,
        job=Job.BACKUP,
        target="shop",
        at=backup.created_at,
        invocations=1,
        function_mb_ms=3_008 * 60_000,
        vault_writes=1_000,
    )
    stage.account.catalog.usages.add(usage)


@scene("docs/install.md#`coffre init`: from nothing to a proven backup", "You are protected.")
def protected(stage: Stage) -> None:
    account, mail = stage.account, "ops@example.com"
    account.configure_buckets("files", "avatars")
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint=mail)
    shop = account.backup(tables=49, rows=19_307, plaintext_bytes=1_600_000)
    files = account.backup(target="files", kind=TargetKind.BUCKET, objects=18, plaintext_bytes=2_500_000)
    reports = DrillReports(S3Store(BUCKET, client=make_client()))
    for backup, seconds in ((shop, 1.7), (files, 0.291)):
        now = datetime.now(UTC)
        drill = DrillReport(
            id="01KD0000000000000000000001",
            backup_id=backup.id,
            target=backup.target,
            outcome=Outcome.PASSED,
            backup_created_at=backup.created_at,
            started_at=now - timedelta(seconds=seconds),
            completed_at=now,
            coffre_version="1",
        )
        reports.write(drill, "")
    fine = CheckResult(
        code="ROLE_CANNOT_READ", severity=Severity.BLOCKER, state=State.OK, sentence="It can.", docs="docs/doctor.md"
    )
    account.play = lambda _, event: {
        "at": "2026-11-28T12:00:00Z",
        "target": event["target"],
        "results": [fine.model_dump(mode="json")],
    }
    findings: Any = Findings()

    def end() -> None:
        prove(DeployedStack("safe", OUTPUTS), set(), findings)
        await_mail(topic, mail, 0, findings)
        conclude("safe", findings)

    stage.part = end
