"""Telling people once: what the topic gets when a problem goes on, ends, is seen by two, or the catalog is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from moto import mock_aws
from tests.catalog_table import create

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, State
from coffre.alerts.publish import AlertError
from coffre.catalog.catalog import Catalog
from coffre.catalog.items import IncidentItem
from coffre.model.backup import Backup, Status, Tier
from coffre.model.configuration import Configuration
from coffre.model.incident import Incident
from coffre.operations.monitoring.alerting import Alerting, Review, what_is_safe
from coffre.operations.monitoring.late_events import send_late
from coffre.operations.monitoring.removed import end_removed

NOON = datetime(2026, 10, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Topic:
    """A topic that keeps what it is given, or refuses it."""

    messages: list[Alert] = field(default_factory=list)
    refuses: bool = False

    def publish(self, alert: Alert) -> None:
        if self.refuses:
            raise AlertError("The topic is gone.")
        self.messages.append(alert)

    def said(self) -> list[tuple[State, str]]:
        """Take what was said so far."""
        said = [(message.state, message.subject) for message in self.messages]
        self.messages.clear()
        return said


@dataclass
class Scene:
    """One deployment's alerting, and its clock."""

    catalog: Catalog
    topic: Topic
    now: datetime = NOON
    noted: list[Exception] = field(default_factory=list)

    @property
    def alerting(self) -> Alerting:
        return Alerting(self.catalog, self.topic, lambda: self.now, self.noted.append)  # type: ignore[arg-type]

    def stored(self) -> list[Incident]:
        return list(self.catalog.incidents.open())


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        catalog = Catalog("catalog")
        create(catalog._table)
        yield Scene(catalog, Topic())


def alert(
    fingerprint: str = "LOCK_TIMEOUT", *, kind: AlertKind = AlertKind.BACKUP_FAILED, target: str = "shop"
) -> Alert:
    return Alert(kind, target, f"{kind} {target} {fingerprint}", "Why: ...", fingerprint)


def test_a_problem_is_told_once_then_reminded_of_then_over(scene: Scene) -> None:
    subject = alert().subject
    for _ in range(3):
        scene.alerting.raise_alert(alert())
        scene.now += HOUR
    assert scene.topic.said() == [(State.NEW, subject)]

    scene.now += 24 * HOUR
    scene.alerting.raise_alert(alert())
    assert scene.topic.said() == [(State.REMINDER, f"Still: {subject}")]

    scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED)
    scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED)
    assert scene.topic.said() == [(State.RECOVERED, f"Over: {subject}")]

    scene.alerting.raise_alert(alert())
    assert scene.topic.said() == [(State.NEW, subject)]


def test_problems_of_other_targets_kinds_and_codes_are_told_each(scene: Scene) -> None:
    several = [alert(), alert("DISK"), alert(target="blog"), alert(kind=AlertKind.QUOTA)]
    for one in several:
        scene.alerting.raise_alert(one)

    assert [subject for _, subject in scene.topic.said()] == [one.subject for one in several]


def test_an_event_is_told_once_and_does_not_go_on(scene: Scene) -> None:
    restore = alert("01K9X", kind=AlertKind.RESTORE_FAILED)
    for _ in range(2):
        scene.alerting.raise_alert(restore)
        scene.now += 48 * HOUR

    assert scene.topic.said() == [(State.NEW, restore.subject)]
    assert scene.stored() == []


def test_two_problems_of_one_kind_end_with_one_message(scene: Scene) -> None:
    for code in ("LOCK_TIMEOUT", "DISK"):
        scene.alerting.raise_alert(alert(code))
        scene.now += HOUR
    scene.alerting.raise_alert(alert(kind=AlertKind.QUOTA))
    scene.topic.said()

    (over,) = scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED)

    assert "LOCK_TIMEOUT" in over.text
    assert "DISK" in over.text
    assert [one.kind for one in scene.stored()] == ["QUOTA"]


def test_what_was_never_told_is_over_without_a_word(scene: Scene) -> None:
    scene.alerting.recovered("shop", *AlertKind)
    assert scene.topic.said() == []

    scene.topic.refuses = True
    with pytest.raises(AlertError):
        scene.alerting.raise_alert(alert())
    scene.topic.refuses = False
    scene.alerting.recovered("shop", *AlertKind)

    assert scene.topic.said() == []
    assert scene.stored() == []


def test_functions_that_notice_the_same_at_once_send_one_message(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    together, find = Barrier(4), scene.catalog.incidents.find
    seen: list[None] = []

    def find_together(*key: str) -> Incident | None:
        found = find(*key)
        if len(seen) < 4:  # all have seen that there is none before anybody writes
            seen.append(None)
            together.wait()
        return found

    monkeypatch.setattr(scene.catalog.incidents, "find", find_together)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(scene.alerting.raise_alert, [alert()] * 4))

    assert sorted(map(str, told)) == ["None", "None", "None", "new"]
    assert len(scene.topic.messages) == 1
    assert scene.stored()[0].seen == 4


def break_catalog(scene: Scene) -> None:
    scene.catalog = Catalog("gone")


def break_record(scene: Scene) -> None:
    scene.alerting.raise_alert(alert())
    item = IncidentItem.pk.exists()
    scene.catalog._table.update("ALERT", "shop#BACKUP_FAILED#LOCK_TIMEOUT", [IncidentItem.since.remove()], item)
    scene.topic.said()


@pytest.mark.parametrize("breaks", [break_catalog, break_record])
def test_a_catalog_that_does_not_answer_never_swallows_an_alert(scene: Scene, breaks: Callable[[Scene], None]) -> None:
    breaks(scene)

    scene.alerting.raise_alert(alert())
    scene.alerting.raise_alert(alert())

    assert scene.topic.said() == [(State.NEW, alert().subject)] * 2
    assert len(scene.noted) == 2


def test_a_catalog_that_does_not_answer_says_of_nothing_that_it_is_over(scene: Scene) -> None:
    break_catalog(scene)

    assert scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED) == ()
    assert len(scene.noted) == 1


def test_a_topic_that_refuses_is_tried_again_by_the_next_who_notices(scene: Scene) -> None:
    scene.topic.refuses = True
    with pytest.raises(AlertError):
        scene.alerting.raise_alert(alert())

    scene.topic.refuses = False
    scene.alerting.raise_alert(alert())

    assert scene.topic.said() == [(State.NEW, alert().subject)]


def test_an_event_that_the_topic_refused_is_told_later_since_no_one_notices_it_again(scene: Scene) -> None:
    event = alert("01K9X0", kind=AlertKind.RESTORE_FAILED)
    scene.topic.refuses = True
    for one in (event, alert()):
        with pytest.raises(AlertError):
            scene.alerting.raise_alert(one)
    with pytest.raises(AlertError):
        send_late(scene.alerting)

    scene.topic.refuses = False
    scene.now += HOUR
    send_late(scene.alerting)
    send_late(scene.alerting)

    [late] = scene.topic.messages
    assert (late.kind, late.target, late.subject, late.state) == (event.kind, "shop", event.subject, State.NEW)
    assert "noticed on 2026-10-02 12:00 UTC, and the message about it could not be sent then" in late.text
    # One that lasts is open until then, and would be called critical for ever
    assert [one.kind for one in scene.stored()] == ["BACKUP_FAILED"]


def test_an_event_that_is_just_being_sent_is_not_told_twice(scene: Scene) -> None:
    scene.alerting._claim(alert("01K9X0", kind=AlertKind.RESTORE_FAILED))

    send_late(scene.alerting)

    assert scene.topic.messages == []


def test_a_recovery_that_the_topic_refuses_is_told_by_the_next_good_run(scene: Scene) -> None:
    scene.alerting.raise_alert(alert())
    scene.topic.refuses = True
    with pytest.raises(AlertError):
        scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED)

    scene.topic.refuses = False
    scene.topic.said()
    scene.alerting.recovered("shop", AlertKind.BACKUP_FAILED)

    assert scene.topic.said() == [(State.RECOVERED, f"Over: {alert().subject}")]


# --- reviews ---


def test_a_review_tells_what_it_found_and_ends_what_it_did_not_find_again(scene: Scene) -> None:
    overdue, quota = AlertKind.BACKUP_OVERDUE, AlertKind.QUOTA
    scene.alerting.raise_alert(alert("", kind=overdue))
    scene.alerting.raise_alert(alert("", kind=overdue, target="blog"))
    scene.alerting.raise_alert(alert())
    scene.topic.said()

    found = alert("", kind=quota, target=EVERY_TARGET)
    scene.alerting.settle(Review((found,), frozenset({(overdue, "shop"), (quota, EVERY_TARGET)})))

    assert scene.topic.said() == [(State.NEW, found.subject), (State.RECOVERED, "Over: BACKUP_OVERDUE shop ")]
    assert {(one.kind, one.target) for one in scene.stored()} == {
        ("QUOTA", "-"),
        ("BACKUP_OVERDUE", "blog"),
        ("BACKUP_FAILED", "shop"),
    }


def test_a_finding_that_changed_is_told_anew_and_the_old_one_does_not_count_as_over(scene: Scene) -> None:
    kind = AlertKind.SIZE_ANOMALY
    checked = frozenset({(kind, "shop")})
    scene.alerting.settle(Review((alert("orders", kind=kind),), checked))
    scene.alerting.settle(Review((alert("orders, users", kind=kind),), checked))

    assert [state for state, _ in scene.topic.said()] == [State.NEW, State.NEW]
    assert [one.fingerprint for one in scene.stored()] == ["orders, users"]

    scene.alerting.settle(Review((), checked))
    assert scene.topic.said() == [(State.RECOVERED, "Over: SIZE_ANOMALY shop orders, users")]


def test_reviews_can_be_put_together() -> None:
    one = Review((alert(),), frozenset({(AlertKind.QUOTA, "-")}))
    other = Review((alert("DISK"),), frozenset({(AlertKind.QUOTA, "shop")}))

    assert one.plus(other) == Review((alert(), alert("DISK")), one.checked | other.checked)


# --- what is not configured any more ---


def test_problems_of_what_was_removed_are_over_and_damage_of_its_backups_is_not(scene: Scene) -> None:
    copy = {"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy", "region": "eu-west-1"}}
    configuration = Configuration.model_validate(
        {
            "encryption": "none",
            "targets": [
                {"name": "shop", "secret": "coffre/database/shop"},
                {"name": "main", "secret": "coffre/database/main", "databases": "all"},
            ],
            "copies": [copy],
        }
    )
    stays = [
        alert(),
        alert(target="main"),
        alert(kind=AlertKind.CONFIG_INVALID, target=EVERY_TARGET),
        alert(kind=AlertKind.VERIFY_FAILED, target="blog"),
        alert(kind=AlertKind.VERIFY_FAILED, target="copy:offsite"),
        alert("offsite: STORE_DENIED", kind=AlertKind.COPY_FAILED),
    ]
    goes = [
        alert(target="blog"),
        alert(kind=AlertKind.DRILL_FAILED, target="blog"),
        alert("disk: STORE_DENIED", kind=AlertKind.COPY_FAILED),
        alert(kind=AlertKind.VERIFY_FAILED, target="copy:disk"),
    ]
    for one in (*stays, *goes):
        scene.alerting.raise_alert(one)
    scene.topic.messages.clear()

    end_removed(scene.alerting, configuration)

    assert {(one.kind, one.target) for one in scene.stored()} >= {(one.kind.value, one.target) for one in stays}
    assert len(scene.stored()) == len(stays)
    words = {(one.kind, one.target): one.text for one in scene.topic.messages}
    assert words.keys() == {(one.kind, one.target) for one in goes}
    assert words[AlertKind.BACKUP_FAILED, "blog"].startswith('The target "blog" is not in the configuration any more')
    assert words[AlertKind.COPY_FAILED, "shop"].startswith('The copy "disk" is not in the configuration any more')
    assert "Nothing has to be done" not in "".join(words.values())


# --- what is still safe ---


def test_what_is_safe_names_the_newest_and_the_newest_verified_backup(scene: Scene) -> None:
    for number, verified_at in ((1, NOON), (2, None)):
        taken = NOON - timedelta(days=9 - number)
        backup = Backup(
            id=f"01K9X00000000000000000000{number}",
            target="shop",
            tiers=(Tier.DAILY,),
            status=Status.COMPLETED,
            created_at=taken,
            verified_at=verified_at,
        )
        scene.catalog.create_backup(backup)

    text = what_is_safe(scene.catalog, "shop")

    assert "Last good backup: 01K9X000000000000000000002, taken 2026-09-25" in text
    assert "Last verified backup: 01K9X000000000000000000001, taken 2026-09-24" in text
    assert "NONE" in what_is_safe(scene.catalog, "blog")
    assert "unknown" in what_is_safe(Catalog("gone"), "shop")
