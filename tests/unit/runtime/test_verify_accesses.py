"""The function verify looks at the logs of accesses: each access by someone else alerts once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.access_logs import ACCOUNT, ALICE, MALLORY, OWN, REGION, ROLES, VAULT, line, log_key
from tests.catalog_table import create_table

from coffre.alerts.alert import EVERY_TARGET, Alert
from coffre.alerts.publish import AlertError
from coffre.model.configuration import Configuration
from coffre.operations.monitoring.alerting import Alerting
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import Settings
from coffre.runtime.function import Edge
from coffre.runtime.observability import make_logger
from coffre.runtime.verify_accesses import look_at_accesses
from coffre.vault.codec import new_identity, public_key

LOGS = "access-logs"
CONFIGURATION = Configuration.model_validate(
    {
        "encryption": "age",
        "recipients": [public_key(new_identity())],
        "targets": [{"name": "shop", "secret": "coffre/database/shop"}],
        "access": {"expected": [f"arn:aws:iam::{ACCOUNT}:user/al*"]},
    }
)


@dataclass
class Topic:
    """Keeps alerts, or accepts none."""

    sent: list[Alert] = field(default_factory=list)
    is_down: bool = False

    def publish(self, alert: Alert) -> None:
        if self.is_down:
            raise AlertError("The topic is down.")
        self.sent.append(alert)


@dataclass
class Scene:
    """The function verify, with its logs and its topic."""

    services: Services
    topic: Topic
    s3: Any

    def log(self, name: str, *lines: str, day: datetime | None = None) -> None:
        body = "".join(f"{one}\n" for one in lines)
        self.s3.put_object(Bucket=LOGS, Key=log_key(day or datetime.now(UTC), name), Body=body.encode())

    def look(self, *, later: timedelta = timedelta(0)) -> list[str]:
        """Look, and return the subjects of the alerts that were sent."""
        before = len(self.topic.sent)
        look_at_accesses(self.services, CONFIGURATION, datetime.now(UTC) + later)
        return [alert.subject for alert in self.topic.sent[before:]]

    def looked_until(self) -> datetime | None:
        mark = self.services.catalog.incidents.find(EVERY_TARGET, "VAULT_ACCESSED", "logs read until")
        return mark.seen_at if mark else None


def scene_of(**settings: str) -> Scene:
    known = {
        "configuration": "c",
        "vault_bucket": VAULT,
        "catalog_table": "catalog",
        "alert_topic_arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts",
        "access_log_bucket": LOGS,
        "own_roles": ",".join(ROLES),
    }
    services = Services("verify", Settings.model_validate({**known, **settings}))
    topic: Any = Topic()
    alerting = Alerting(services.catalog, topic, lambda: datetime.now(UTC), lambda error: None)
    vars(services)["edge"] = Edge(make_logger("verify"), alerting)
    return Scene(services, topic, boto3.client("s3"))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, REGION)
    with mock_aws():
        create_table("catalog")
        made = scene_of()
        made.s3.create_bucket(Bucket=LOGS, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield made


def test_an_access_by_someone_else_alerts_once(scene: Scene) -> None:
    # Given a log with accesses of Coffre, of an expected person, of AWS, and of Mallory
    now = datetime.now(UTC)
    expired = line("AmazonS3", "S3.EXPIRE.OBJECT", at=now)
    scene.log("A", line(OWN, at=now), line(ALICE, at=now), expired, line(MALLORY, at=now), line(MALLORY, at=now))

    # Then one alert says so, however often the logs are looked at
    assert scene.look() == ["Not Coffre: Admin/mallory read objects of the vault"]
    assert "requests that succeeded: 2" in scene.topic.sent[0].text
    assert scene.look() == []

    # And more of the same on the same day is no news, but a deletion is
    scene.log("B", line(MALLORY, at=now), line(MALLORY, "BATCH.DELETE.OBJECT", at=now))
    assert scene.look() == ["Not Coffre: Admin/mallory deleted objects of the vault"]
    assert scene.look() == []


def test_the_same_on_another_day_is_news(scene: Scene) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    scene.log("A", line(MALLORY, at=datetime.now(UTC)))
    scene.log("B", line(MALLORY, at=yesterday), day=yesterday)

    assert len(scene.look()) == 2


def test_logs_are_read_on_from_where_the_last_look_ended(scene: Scene) -> None:
    assert scene.looked_until() is None
    scene.log("A", line(OWN, at=datetime.now(UTC)))
    scene.look()
    first = scene.looked_until()
    assert first is not None
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=5)

    # Without new logs the place stays; a look in an hour finds nothing new to read.
    scene.look(later=timedelta(hours=1))
    assert scene.looked_until() == first

    # A late log of three days ago is read by its delivery.
    old = datetime.now(UTC) - timedelta(days=3)
    scene.log("late", line(MALLORY, at=old), day=old)
    assert len(scene.look()) == 1


def test_what_could_not_be_said_is_said_by_the_next_look(scene: Scene) -> None:
    scene.log("A", line(MALLORY, at=datetime.now(UTC)))
    scene.topic.is_down = True
    with pytest.raises(AlertError):
        scene.look()
    assert scene.looked_until() is None

    scene.topic.is_down = False
    assert len(scene.look()) == 1


def test_lines_of_an_unknown_form_are_an_alert(scene: Scene) -> None:
    scene.log("A", "AWS changed its mind", line(OWN, at=datetime.now(UTC)))

    assert scene.look() == ["It is not known who accessed the vault"]
    assert "the logs have 1 line of an unknown form" in scene.topic.sent[0].text
    assert scene.look() == []


def test_logs_that_stop_are_an_alert(scene: Scene) -> None:
    assert scene.look() == []  # they were just turned on

    assert scene.look(later=timedelta(hours=47)) == []
    assert scene.look(later=timedelta(hours=49)) == ["It is not known who accessed the vault"]
    assert "no log was delivered since" in scene.topic.sent[0].text
    assert scene.look(later=timedelta(hours=49)) == []


def test_logs_that_cannot_be_read_are_an_alert_and_no_failure(scene: Scene) -> None:
    blind = scene_of(access_log_bucket="another")

    assert blind.look() == ["It is not known who accessed the vault"]
    assert "BUCKET_MISSING" in blind.topic.sent[0].text
    assert blind.looked_until() is None


def test_only_the_vaults_folder_matters(scene: Scene) -> None:
    now = datetime.now(UTC)
    scene.log("A", line(MALLORY, key="other/a", at=now), line(MALLORY, "REST.PUT.OBJECT", "team/v1/packs/a", at=now))

    assert scene_of(vault_prefix="team").look() == ["Not Coffre: Admin/mallory wrote objects into the vault"]


def test_without_a_bucket_of_logs_nothing_happens(scene: Scene) -> None:
    scene.log("A", line(MALLORY, at=datetime.now(UTC)))
    without = scene_of()
    settings = without.services.settings.model_copy(update={"access_log_bucket": None})

    look_at_accesses(Services("verify", settings), CONFIGURATION, datetime.now(UTC))

    assert scene.looked_until() is None
