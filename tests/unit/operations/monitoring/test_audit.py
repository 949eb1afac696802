"""What keeps the audit checkable, and small: anchors in the vault, and refusals that are counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest
from tests.unit.operations.conftest import NOW, Scene

from coffre.model.audit import Actor
from coffre.model.errors import CatalogError, EventError, IntegrityError
from coffre.operations.monitoring.audit_anchors import anchor_chains
from coffre.operations.monitoring.audit_notes import note_configuration, note_refusal, record_counts
from coffre.policy.audit_chain import verify_chain
from coffre.vault.audit_anchors import newest_anchor, read_anchors, write_anchor
from coffre.vault.layout import anchor_key

HOUR = timedelta(hours=1)
ANA = Actor("arn:aws:iam::1:user/ana", verified=True)
REFUSAL = EventError("The event has wrong fields.")


def record(scene: Scene, *subjects: str, target: str | None = "shop") -> None:
    for subject in subjects:
        scene.catalog.audit.record(scene.now, ANA, "backup.pinned", target, subject)


def table(scene: Scene) -> Any:
    return boto3.resource("dynamodb").Table(scene.catalog._table.name)


# --- anchors ---


def test_no_anchor_is_made_before_the_first_event(scene: Scene) -> None:
    assert anchor_chains(scene.catalog, scene.vault, NOW) is None
    assert list(read_anchors(scene.store)) == []


def test_an_anchor_is_made_when_a_head_changed_and_names_the_one_before(scene: Scene) -> None:
    record(scene, "1")
    first = anchor_chains(scene.catalog, scene.vault, NOW)
    again = anchor_chains(scene.catalog, scene.vault, NOW + HOUR)
    record(scene, "2")
    record(scene, "3", target=None)
    second = anchor_chains(scene.catalog, scene.vault, NOW + 2 * HOUR)

    assert first is not None
    assert again is not None
    assert second is not None
    assert (first.is_new, again.is_new, second.is_new) == (True, False, True)
    assert again.anchor == first.anchor
    assert second.anchor.previous == first.anchor.id
    assert [(head.shard, head.sequence) for head in second.anchor.heads] == [("-", 1), ("shop", 2)]
    assert second.findings == ()
    assert list(read_anchors(scene.store)) == [first.anchor, second.anchor]
    assert list(read_anchors(scene.store, NOW + HOUR)) == [second.anchor]


def test_what_was_changed_since_the_last_anchor_is_found_when_the_next_is_made(scene: Scene) -> None:
    record(scene, "1", "2")
    anchor_chains(scene.catalog, scene.vault, NOW)
    record(scene, "3", "4")
    item = table(scene).get_item(Key={"pk": "AUDIT#shop", "sk": "0" * 19 + "3"})["Item"]
    table(scene).put_item(Item={**item, "actor": "mallory"})

    found = anchor_chains(scene.catalog, scene.vault, NOW + HOUR)

    assert found is not None
    assert [(one.code, one.shard, one.sequence) for one in found.findings] == [
        ("EVENT_CHANGED", "shop", 3),
        ("CHAIN_FORKED", "shop", 4),
    ]
    assert found.is_new, "what is there now is evidence too"


def test_a_table_that_was_set_back_is_found_by_the_next_anchor(scene: Scene) -> None:
    """As point-in-time recovery does: an older state, consistent in itself, that is continued."""
    record(scene, "1")
    head = table(scene).get_item(Key={"pk": "AUDITHEAD", "sk": "shop"})["Item"]
    record(scene, "2", "3")
    anchor_chains(scene.catalog, scene.vault, NOW)
    for number in (2, 3):
        table(scene).delete_item(Key={"pk": "AUDIT#shop", "sk": f"{number:020d}"})
    table(scene).put_item(Item=head)
    scene.catalog.audit._last.clear()

    cut = anchor_chains(scene.catalog, scene.vault, NOW + HOUR)
    assert cut is not None
    assert [one.code for one in cut.findings] == ["CHAIN_CUT"]

    record(scene, "another 2", "another 3", "another 4")
    anchors = list(read_anchors(scene.store))
    heads = scene.catalog.audit.heads()
    stored = list(scene.catalog.audit.stored("shop", heads[0]))
    assert verify_chain(stored, heads, ()).is_intact
    assert "CHAIN_FORKED" in [one.code for one in verify_chain(stored, heads, anchors[:1]).findings]
    # Anchors that were made since then are kept
    assert verify_chain(stored, heads, anchors[1:]).is_intact


def test_a_check_of_the_newest_events_reads_those_alone(scene: Scene) -> None:
    record(scene, *map(str, range(6)))
    anchor_chains(scene.catalog, scene.vault, NOW)
    record(scene, "new")
    (head,) = scene.catalog.audit.heads()
    read = [one.sort for one in scene.catalog.audit.stored("shop", head, after=5)]
    assert read == [f"{6:020d}", f"{7:020d}"]


def test_the_newest_anchor_is_found_across_the_blocks_of_its_ids(scene: Scene) -> None:
    record(scene, "1")
    for days in (0, 5, 11, 12, 13):
        record(scene, str(days))
        made = anchor_chains(scene.catalog, scene.vault, NOW + timedelta(days=days))
        assert made is not None
        later = NOW + timedelta(days=days, hours=1)
        assert newest_anchor(scene.store, later) == made.anchor
    assert newest_anchor(scene.store, NOW + timedelta(days=60)) is None


def test_anchors_are_written_once_and_one_that_was_changed_is_an_error(scene: Scene) -> None:
    record(scene, "1")
    made = anchor_chains(scene.catalog, scene.vault, NOW)
    assert made is not None
    forged = made.anchor.model_copy(update={"heads": ()})
    with pytest.raises(Exception, match="OBJECT_EXISTS"):
        write_anchor(scene.vault, forged)
    for body in (b"{}", b"not json", made.anchor.model_copy(update={"id": "01K9X"}).model_dump_json().encode()):
        scene.store.delete(anchor_key(made.anchor.id))
        scene.put(anchor_key(made.anchor.id), body)
        with pytest.raises(IntegrityError, match="ANCHOR_DAMAGED"):
            anchor_chains(scene.catalog, scene.vault, NOW + HOUR)


# --- refusals ---


def refusals(scene: Scene) -> list[tuple[str, str | None]]:
    events = [event for event in scene.catalog.audit.events() if event.result == "refused"]
    return [(event.actor, event.detail) for event in reversed(events)]


def test_a_flood_of_refusals_is_recorded_once_an_hour_with_their_number(scene: Scene) -> None:
    for minute in range(10):
        note_refusal(scene.catalog, NOW + timedelta(minutes=minute), ANA, "restore.started", REFUSAL)
    assert refusals(scene) == [(ANA.name, "The event has wrong fields. [EVENT_INVALID]")]

    record_counts(scene.catalog, NOW + timedelta(minutes=59))
    assert len(refusals(scene)) == 1, "the hour is not over"
    for _ in range(2):
        record_counts(scene.catalog, NOW + HOUR)
    assert refusals(scene)[1:] == [(ANA.name, "9 more since 2026-11-22 05:00 UTC, until 05:09 [EVENT_INVALID]")]


def test_a_refusal_of_the_next_hour_is_recorded_after_the_number_of_the_last(scene: Scene) -> None:
    for minute in (0, 1, 70):
        note_refusal(scene.catalog, NOW + timedelta(minutes=minute), ANA, "restore.started", REFUSAL)
    assert [detail for _, detail in refusals(scene)] == [
        "The event has wrong fields. [EVENT_INVALID]",
        "1 more since 2026-11-22 05:00 UTC, until 05:01 [EVENT_INVALID]",
        "The event has wrong fields. [EVENT_INVALID]",
    ]


def test_other_actors_actions_and_codes_are_recorded_each_and_claimed_names_count_as_one(scene: Scene) -> None:
    li = Actor("arn:aws:iam::1:user/li", verified=True)
    note_refusal(scene.catalog, NOW, ANA, "restore.started", REFUSAL)
    note_refusal(scene.catalog, NOW, li, "restore.started", REFUSAL)
    note_refusal(scene.catalog, NOW, ANA, "backup.deleted", REFUSAL)
    note_refusal(scene.catalog, NOW, ANA, "restore.started", EventError("No.", code="TOKEN_WRONG"))
    for number in range(50):
        note_refusal(scene.catalog, NOW, Actor(f"claimed {number}"), "restore.started", REFUSAL)
    assert [actor for actor, _ in refusals(scene)] == [ANA.name, li.name, ANA.name, ANA.name, "claimed 0"]
    assert list(scene.catalog.incidents.open()) == [], "counters are no problems"


# --- the configuration ---


def test_a_changed_configuration_is_recorded_once_also_one_that_comes_back(scene: Scene) -> None:
    for document in ("a", "a", "b", "b", "a"):
        note_configuration(scene.catalog, NOW, document)
    found = [event.detail or "" for event in scene.catalog.audit.events() if event.action == "configuration.changed"]
    assert len(found) == 3
    assert found[2].endswith("the first that was recorded")
    assert found[0].split("before: ")[1] == found[1].split(", ")[0].removeprefix("SHA-256 ")


def test_a_change_that_cannot_be_recorded_is_recorded_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise CatalogError("The table did not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(scene.catalog.audit, "record", silent)
        with pytest.raises(CatalogError):
            note_configuration(scene.catalog, NOW, "a")
    note_configuration(scene.catalog, NOW, "a")
    assert [event.action for event in scene.catalog.audit.events()] == ["configuration.changed"]
