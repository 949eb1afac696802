"""The function verify keeps and sends the report of the week: once, with the first line of the status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws
from tests.catalog_table import create_table
from tests.unit.policy.report_scene import CONFIGURATION
from tests.unit.policy.safety_scene import NOW, drill, run

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.publish import AlertError
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Status
from coffre.model.report import PeriodReport
from coffre.model.usage import Job, Usage
from coffre.operations.monitoring.alerting import Alerting
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import Settings
from coffre.runtime.function import Edge
from coffre.runtime.observability import make_logger
from coffre.runtime.report import send_report
from coffre.vault.layout import is_report

REGION: Final = "eu-west-1"


@dataclass
class Topic:
    """Keeps alerts, or accepts none."""

    sent: list[Alert] = field(default_factory=list)
    is_down: bool = False

    def publish(self, alert: Alert) -> None:
        if self.is_down:
            raise AlertError("The topic is down.")
        self.sent.append(alert)


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, topic: Topic) -> Iterator[Services]:
    for name, value in (("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION), ("AWS_ACCESS_KEY_ID", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings = Settings.from_env(
        {
            "COFFRE_VAULT_BUCKET": "vault",
            "COFFRE_CATALOG_TABLE": "catalog",
            "COFFRE_CONFIGURATION": "configuration",
            "COFFRE_ALERT_TOPIC_ARN": "topic",
        }
    )
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="vault", CreateBucketConfiguration={"LocationConstraint": REGION})
        create_table("catalog", region=REGION)
        made = Services("verify", settings)
        played: Any = topic
        alerting = Alerting(made.catalog, played, lambda: NOW, lambda error: None)
        vars(made)["edge"] = Edge(make_logger("verify"), alerting)
        fill(made.catalog)
        yield made


def fill(catalog: Catalog) -> None:
    for day in range(10):
        backup = run(10 + 24 * day, plaintext_bytes=5_000_000, manifest_sha256="a" * 64)
        backup = backup.model_copy(update={"manifest_key": f"v1/backups/shop/{backup.id}/manifest.json"})
        catalog.create_backup(backup.model_copy(update={"status": Status.IN_PROGRESS}))
        catalog.complete_backup(backup)
        catalog.usages.add(Usage(id=backup.id, job=Job.BACKUP, target="shop", at=backup.created_at, invocations=1))
    catalog.latest.note_drill(drill())


def test_the_report_is_kept_as_a_page_and_sent_once_a_week(services: Services, topic: Topic) -> None:
    answer = send_report(services, CONFIGURATION, NOW)
    send_report(services, CONFIGURATION, NOW + timedelta(hours=1))

    assert [alert.kind for alert in topic.sent] == [AlertKind.REPORT]
    text = topic.sent[0].text
    assert text.splitlines()[0] == answer["headline"]
    assert "- shop: 7 good backups, 5.0 MB, 0 verified, drill: passed, 2026-11-25" in text
    assert "- cost: about $" in text
    assert "Ada" not in text
    assert re.fullmatch(r"v1/reports/20261128-[0-9A-Z]{26}\.html", answer["page"])
    assert answer["page"] in text
    assert all(is_report(info.key) for info in services.vault.store.list("v1/reports/"))  # rotation knows them
    assert not is_report("v1/reports/other.html")
    page = services.vault.store.get(answer["page"], limit_bytes=1_000_000).decode()
    assert "Ada Lovelace" in page
    kept = services.vault.store.get(answer["page"].replace(".html", ".json"), limit_bytes=1_000_000)
    report = PeriodReport.model_validate_json(kept)
    assert report.contacts == ()
    assert report.status.headline == answer["headline"]


def test_a_mail_that_cannot_be_sent_is_an_error_and_the_page_is_kept(services: Services, topic: Topic) -> None:
    topic.is_down = True

    with pytest.raises(AlertError):
        send_report(services, CONFIGURATION, NOW)

    assert len(list(services.vault.store.list("v1/reports/"))) == 2
    topic.is_down = False
    send_report(services, CONFIGURATION, NOW)
    assert len(topic.sent) == 1
