"""Changes of tags and grants alone, which no listing shows; and attributes that are easily lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore, refusal

from coffre.model.manifest import Manifest, ObjectFacts
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.vault.entry_files import lists_as_packs


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for number in range(12):
        store.put("photos", f"{number:02}", b"%d" % number, tags={"team": "web"} if number % 2 else {})
    return store


@pytest.fixture
def scene(tmp_path: Path, store: MemoryStore) -> Scene:
    return Scene(tmp_path, store, {"attributes": "compare"})


def facts(scene: Scene, manifest: Manifest, key: str) -> ObjectFacts:
    found = scene.entries(manifest)[f"photos/{key}"].object
    assert found is not None
    return found


def test_a_backup_that_follows_the_listing_says_once_what_it_does_not_see(scene: Scene, store: MemoryStore) -> None:
    scene.document = {}
    first = scene.backup()
    store.buckets["photos"]["01"].tags["team"] = "shop"

    second = scene.backup()

    assert first.notes == ()
    assert facts(scene, second, "01").tags == {"team": "web"}
    assert len(second.notes) == 1
    assert "12 unchanged objects were not compared" in second.notes[0]
    assert second.exceptions == ()


@pytest.mark.parametrize("tags", [{}, {"team": "shop"}, {"team": "web", "secret": "yes"}])
def test_tags_that_changed_alone_are_backed_up(scene: Scene, store: MemoryStore, tags: dict[str, str]) -> None:
    scene.backup()
    read = store.requests["get"]
    kept = store.buckets["photos"]["01"].tags
    kept.clear()
    kept.update(tags)

    second = scene.backup()

    assert facts(scene, second, "01").tags == tags
    assert (second.storage.changed, second.storage.attributes_changed, second.storage.compared) == (1, 1, 12)
    assert (store.requests["get"], second.notes) == (read, ())
    assert scene.bodies(second) == store.bodies()
    assert store.requests["tagging"] == 6 + 12
    used = {frame.pack for one in scene.entries(second).values() for frame in one.frames}
    assert {pack.key for pack in second.packs} == used | lists_as_packs(second.entries).keys()
    assert scene.backup().storage.changed == 0


def test_grants_that_changed_alone_are_backed_up(scene: Scene, store: MemoryStore) -> None:
    scene.has_acls = True
    scene.backup()

    def take_away(call: Call, answer: Answer) -> Answer:
        return Answer(200, {}, b"<A/>") if call.action == "s3:GetObjectAcl" and call.key == "03" else answer

    store.change = take_away
    second = scene.backup()

    assert (facts(scene, second, "03").acl, facts(scene, second, "04").acl) == ((), ("AllUsers=READ",))
    assert second.storage.attributes_changed == 1


def test_shares_come_to_every_object_in_turn(scene: Scene, store: MemoryStore) -> None:
    scene.document["attributes_every"] = 3
    scene.backup()
    for kept in store.buckets["photos"].values():
        kept.tags["new"] = "1"
    asked: Counter[str] = Counter()
    store.before = lambda operation, call, number: asked.update([call.key] if operation == "tagging" else [])

    manifests = [scene.backup() for _ in range(3)]

    assert asked == Counter(store.buckets["photos"].keys())
    assert sum(manifest.storage.attributes_changed for manifest in manifests) == 12
    assert all("later backups" in manifest.notes[0] for manifest in manifests)
    assert all(facts(scene, manifests[-1], key).tags["new"] == "1" for key in store.buckets["photos"])


def test_tags_that_cannot_be_read_stay_as_they_were_recorded(scene: Scene, store: MemoryStore) -> None:
    scene.backup()

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "tagging":
            raise refusal(403, "AccessDenied")

    store.before = refuse
    second = scene.backup()

    assert facts(scene, second, "01").tags == {"team": "web"}
    assert second.exceptions == ("Tags of objects in photos could not be read: STORE_DENIED. (12 times)",)


@pytest.mark.parametrize("what", ["tagging", "acl"])
def test_what_could_not_be_read_once_is_asked_for_by_the_next_backup(
    scene: Scene, store: MemoryStore, what: str
) -> None:
    scene.document, scene.has_acls = {}, True

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == what and "ownership" not in call.action.lower() and call.key != "00":
            raise refusal(403, "AccessDenied")

    store.before = refuse
    first = scene.backup()
    still = scene.backup()
    store.before = lambda *_: None
    read = store.requests["get"]
    healed = scene.backup()
    after = scene.backup()

    assert len(first.exceptions) == len(still.exceptions) == 1
    assert (healed.exceptions, after.exceptions) == ((), ())
    assert store.requests["get"] == read
    entry = facts(scene, healed, "01")
    assert (entry.tags, entry.acl, entry.unknown) == ({"team": "web"}, ("AllUsers=READ",), ())
    assert facts(scene, still, "01").unknown == (("tags",) if what == "tagging" else ("acl",))
    requests = store.requests[what]
    scene.backup()
    assert store.requests[what] == requests


def test_tags_that_aws_does_not_count_for_a_role_are_an_exception(scene: Scene, store: MemoryStore) -> None:
    """It leaves the number of tags out of its answers to those who may not read them."""
    scene.document, scene.has_acls = {}, True

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "tagging":
            raise refusal(403, "AccessDenied")

    def uncounted(call: Call, answer: Answer) -> Answer:
        headers = {name: value for name, value in answer.headers.items() if name != "x-amz-tagging-count"}
        return replace(answer, headers=headers)

    store.before, store.change = refuse, uncounted
    first, second = scene.backup(), scene.backup()

    assert first.exceptions == second.exceptions == ("Tags of objects in photos could not be read: STORE_DENIED.",)
    assert store.requests["tagging"] == 2  # the bucket is asked once
    store.before = lambda *_: None
    store.change = lambda call, answer: answer
    healed = scene.backup()
    assert healed.exceptions == ()
    assert facts(scene, healed, "01").tags == {"team": "web"}


def test_a_storage_class_that_a_rule_changed_is_seen_without_a_request(scene: Scene, store: MemoryStore) -> None:
    scene.document = {}
    scene.backup()
    store.change = lambda call, answer: Answer(
        answer.status, answer.headers, answer.body.replace(b"</Size>", b"</Size><StorageClass>GLACIER</StorageClass>")
    )

    second = scene.backup()

    assert facts(scene, second, "01").storage_class == "GLACIER"
    assert second.storage.changed == 0


@pytest.mark.parametrize(
    ("headers", "field", "value"),
    [
        ({"x_amz_website_redirect_location": "/new"}, "redirect", "/new"),
        ({"x_amz_server_side_encryption_aws_kms_key_id": "arn:aws:kms:k"}, "kms_key", "arn:aws:kms:k"),
        ({"content_type": ""}, "content_type", ""),
        ({}, "content_type", None),
    ],
)
def test_attributes_that_are_easily_lost_are_kept(
    scene: Scene, store: MemoryStore, headers: dict[str, Any], field: str, value: str | None
) -> None:
    store.put("photos", "00", b"0", **headers)

    assert getattr(facts(scene, scene.backup(), "00"), field) == value
