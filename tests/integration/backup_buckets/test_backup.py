"""Backups of buckets: what is read, what is kept, and what is said about what could not be read."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore, directory_order, refusal

from coffre.buckets import reader as source
from coffre.model.errors import CoffreError, StoreError, StoreTransientError
from coffre.model.manifest import Frame, ObjectFacts
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.backup_buckets.job import READ_AHEAD_BYTES
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.vault.entry_files import lists_as_packs
from coffre.vault.pack import PackWriter

NOISE = random.Random(4)
HOSTILE = [
    "a",
    "A",
    "a/",
    "a//b",
    "/leading",
    "trailing/",
    "../up",
    "a/../b",
    "./here",
    "..",
    "with space + plus%20&amp;<x>",
    "new\nline\ttab\x01control\x7f",
    "back\\slash",
    "ünï/çødé/日本語/🗄️",
    "e\u0301 and \u00e9",
    "con",
    "x" * 1024,
    "é" * 512,
    "?query=1#fragment",
    "\"quotes'",
]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def scene(tmp_path: Path, store: MemoryStore) -> Scene:
    store.buckets["photos"] = {}
    return Scene(tmp_path, store)


def only(facts: ObjectFacts | None) -> ObjectFacts:
    assert facts is not None
    return facts


# --- what is kept ---


def test_every_object_is_stored_with_what_the_bucket_says_about_it(scene: Scene, store: MemoryStore) -> None:
    store.put(
        "photos",
        "cat.jpg",
        b"meow" * 100,
        tags={"owner": "ada", "a b": "c&amp;d"},
        content_type="image/jpeg",
        content_encoding="gzip",
        content_disposition="attachment",
        content_language="fr",
        cache_control="max-age=60",
        expires="Thu, 01 Dec 2094 16:00:00 GMT",
        x_amz_storage_class="STANDARD_IA",
        x_amz_version_id="v-1",
        x_amz_meta_taken_by="J\u00c3\u00bcrgen",  # UTF-8, as headers come
    )

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    facts = only(scene.entries(manifest)["photos/cat.jpg"].object)
    kept = store.buckets["photos"]["cat.jpg"]
    assert facts == ObjectFacts(
        etag=kept.etag,
        last_modified=kept.modified,
        version_id="v-1",
        content_type="image/jpeg",
        content_encoding="gzip",
        content_disposition="attachment",
        content_language="fr",
        cache_control="max-age=60",
        expires="Thu, 01 Dec 2094 16:00:00 GMT",
        metadata={"taken-by": "Jürgen"},
        tags={"owner": "ada", "a b": "c&d"},
        storage_class="STANDARD_IA",
    )
    assert manifest.storage.requests == {"get": 1, "list": 1, "tagging": 1, "put": 3}


def test_hostile_keys_and_empty_objects_come_through(scene: Scene, store: MemoryStore) -> None:
    for number, key in enumerate(HOSTILE):
        store.put("photos", key, b"" if number % 5 == 0 else key.encode())

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert manifest.storage.objects == len(HOSTILE)
    assert manifest.exceptions == ()


def test_buckets_are_kept_apart_and_sorted_as_one(scene: Scene, store: MemoryStore) -> None:
    scene.document["buckets"] = [{"name": name} for name in ("b", "a", "a-b", "empty", "a.c")]
    store.buckets["empty"] = {}
    for bucket in ("a", "b", "a-b", "a.c"):
        for key in ("x", "a-b/x", "/"):
            store.put(bucket, key, f"{bucket}:{key}".encode())

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert [(bucket.name, bucket.objects) for bucket in manifest.storage.buckets] == [
        ("b", 3),
        ("a", 3),
        ("a-b", 3),
        ("empty", 0),
        ("a.c", 3),
    ]


def test_an_empty_bucket_is_a_backup_too(scene: Scene) -> None:
    manifest = scene.backup()

    assert (manifest.storage.objects, scene.entries(manifest)) == (0, {})


def test_prefixes_and_patterns_choose(scene: Scene, store: MemoryStore) -> None:
    chosen = {"prefixes": ["2026/", "2025/12/", "2026/01/"], "include": ["**.jpg", "**.png"], "exclude": ["**/tmp/**"]}
    scene.document["buckets"] = [{"name": "photos", **chosen}]
    for key in (
        "2026/01/a.jpg",
        "2026/a.png",
        "2026/tmp/a.jpg",
        "2026/a.txt",
        "2025/12/b.jpg",
        "2025/11/b.jpg",
        "c.jpg",
    ):
        store.put("photos", key, key.encode())

    manifest = scene.backup()

    assert sorted(scene.bodies(manifest)) == ["photos/2025/12/b.jpg", "photos/2026/01/a.jpg", "photos/2026/a.png"]
    assert store.requests["list"] == 2  # the prefix below another one is not listed twice


def test_small_objects_share_packs_and_frames(scene: Scene, store: MemoryStore) -> None:
    for number in range(1200):
        store.put("photos", f"{number:05}", f"{number} ".encode() * 40)

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert manifest.storage.requests["put"] == 2 + 2
    frames = {frame for entry in scene.entries(manifest).values() for frame in entry.frames}
    assert len(frames) < 10


def test_a_large_object_is_cut_and_read_in_pieces(scene: Scene, store: MemoryStore) -> None:
    body = NOISE.randbytes(3 * source.PIECE_BYTES + 1)
    store.put("photos", "film.mov", body)
    store.put("photos", "exact.mov", body[: 2 * source.PIECE_BYTES])

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert store.requests["get"] == 4 + 2
    assert manifest.stored_bytes < manifest.plaintext_bytes * 1.01  # noise is not made larger


def test_a_huge_object_takes_no_memory(scene: Scene, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read and is not stored yet never exceeds the room for it, however long the object is."""
    size = 400_000_000
    store.put_huge("photos", "backup.tar", size)
    ahead, most = Counter[str](), Counter[str]()

    def serve(call: Call, answer: Answer) -> Answer:
        ahead["bytes"] += len(answer.body)
        most["bytes"] = max(most["bytes"], ahead["bytes"])
        return answer

    append = PackWriter.append

    def take(writer: PackWriter, plaintext: bytes, sha256: str, alike: str | None = "") -> Frame:
        ahead["bytes"] -= len(plaintext)
        return append(writer, plaintext, sha256, alike)

    store.change = serve
    monkeypatch.setattr(PackWriter, "append", take)
    manifest = scene.backup()

    entry = scene.entries(manifest)["photos/backup.tar"]
    assert (entry.size, len(entry.frames)) == (size, -(-size // source.PIECE_BYTES))
    assert most["bytes"] <= READ_AHEAD_BYTES + 2 * source.PIECE_BYTES


# --- the next backup ---


def test_the_next_backup_reads_only_what_changed(scene: Scene, store: MemoryStore) -> None:
    for number in range(300):
        store.put("photos", f"{number:04}", NOISE.randbytes(500))
    first = scene.backup()
    read = store.requests["get"]
    store.put("photos", "0007", b"changed")
    store.put("photos", "0007x", b"new")
    store.delete("photos", "0100")

    second = scene.backup()

    assert store.requests["get"] - read == 2
    content = second.storage
    assert (content.added, content.changed, content.removed, content.objects) == (1, 1, 1, 300)
    assert content.previous == first.backup_id
    assert scene.bodies(second) == store.bodies()
    assert second.stored_bytes < first.stored_bytes / 3
    unchanged = {
        name: entry for name, entry in scene.entries(first).items() if name not in {"photos/0007", "photos/0100"}
    }
    assert unchanged.items() <= scene.entries(second).items()


def test_the_same_bytes_written_again_are_not_stored_again(scene: Scene, store: MemoryStore) -> None:
    bodies = {"small": b"s" * 1000, "large": NOISE.randbytes(source.PIECE_BYTES + 10**6)}
    for key, body in bodies.items():
        store.put("photos", key, body)
    scene.backup()
    for key, body in bodies.items():
        store.put("photos", key, body)
    store.put("photos", "large", bodies["large"] + b"one more line in the log")

    second = scene.backup()

    assert second.storage.changed == 2
    assert scene.bodies(second) == store.bodies()
    assert second.stored_bytes < 1_100_000  # the last piece alone


def test_versions_that_differ_in_any_mark_are_read_again(scene: Scene, store: MemoryStore) -> None:
    for key in ("etag", "time", "size", "same"):
        store.put("photos", key, b"1" * 10)
    scene.backup()
    kept = store.buckets["photos"]
    kept["etag"] = replace(kept["etag"], etag="e" * 32)
    kept["time"] = replace(kept["time"], modified=kept["time"].modified.replace(year=2027))
    store.put("photos", "size", b"1" * 11)
    before = store.requests["get"]

    second = scene.backup()

    assert second.storage.changed == 3
    assert store.requests["get"] - before == 3 + 1  # the etag that is no MD5 is looked at twice


def test_packs_that_are_gone_are_not_pointed_at(scene: Scene, store: MemoryStore) -> None:
    for number in range(20):
        store.put("photos", f"{number:04}", NOISE.randbytes(5000))
    first = scene.backup()
    store.put("photos", "0001", b"changed")
    for pack in [pack for pack in first.packs if pack.key not in lists_as_packs(first.entries)]:
        scene.vault.store.delete(pack.key)

    second = scene.backup()

    assert scene.bodies(second) == store.bodies()
    assert (second.storage.added, second.storage.changed) == (0, 1)
    assert not {pack.key for pack in first.packs} & {pack.key for pack in second.packs}


def test_new_recipients_get_everything_anew(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "a", b"1")
    scene.backup()
    scene.recipients = ()

    second = scene.backup()

    assert second.encryption == "none"
    assert (second.exceptions, second.notes) == ((), ("The recipients changed: everything was stored again.",))
    assert scene.bodies(second) == store.bodies()


@pytest.mark.parametrize("what", ["manifest", "entries"])
def test_a_damaged_previous_backup_does_not_stop_the_next(scene: Scene, store: MemoryStore, what: str) -> None:
    store.put("photos", "a", b"1")
    first = scene.backup()
    key = first.entries[0].key if what == "entries" else (scene.last and scene.last.manifest_key) or ""
    (scene.root / "vault" / key).write_bytes(b"garbage")

    second = scene.backup()

    assert scene.bodies(second) == store.bodies()
    assert second.exceptions == ()
    assert [text.partition(":")[0] for text in second.notes] == [
        f"The previous backup {first.backup_id} is damaged, its objects were stored again"
    ]


# --- what cannot be read ---


def test_an_object_that_vanishes_is_no_hole(scene: Scene, store: MemoryStore) -> None:
    for key in ("a", "b", "c"):
        store.put("photos", key, key.encode())

    def vanish(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key == "b":
            store.buckets["photos"].pop("b", None)

    store.before = vanish
    manifest = scene.backup()

    assert sorted(scene.entries(manifest)) == ["photos/a", "photos/c"]
    assert (manifest.exceptions, manifest.storage.objects) == ((), 2)


def test_an_object_that_is_listed_but_not_found_is_said(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "a", b"1")
    store.put("photos", "odd//key", b"2")

    def lose(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key == "odd//key":
            raise refusal(404, "NoSuchKey")

    store.before = lose
    manifest = scene.backup()

    assert only(scene.entries(manifest)["photos/odd//key"].object).unread is not None
    assert manifest.storage.unread == 1
    assert "'photos/odd//key' is not in this backup" in manifest.exceptions[0]


@pytest.mark.parametrize("size", [100, 2 * source.PIECE_BYTES + 5])
def test_an_object_that_changes_meanwhile_is_read_again(scene: Scene, store: MemoryStore, size: int) -> None:
    store.put("photos", "log", b"1" * size)

    def grow(operation: str, call: Call, number: int) -> None:
        if operation == "get" and number == 2:
            store.put("photos", "log", b"2" * (size + source.PIECE_BYTES))

    store.before = grow
    if size == 100:
        grow("get", Call("", "", "", ""), 2)
        store.buckets["photos"]["log"], listed = replace(store.buckets["photos"]["log"]), store.buckets["photos"]["log"]
        assert listed.size > source.PIECE_BYTES
    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert manifest.exceptions == ()


def test_an_object_that_grows_after_it_was_listed_is_taken_as_it_is_then(scene: Scene, store: MemoryStore) -> None:
    """Of one piece when it was listed, of two when it is read; and one that was empty."""
    store.put("photos", "log", b"1" * 100)
    store.put("photos", "was empty", b"")
    store.put("photos", "was full", b"3" * 50)

    def grow(operation: str, call: Call, number: int) -> None:
        if operation == "get" and number == 1:
            store.put("photos", "log", b"2" * (source.PIECE_BYTES + 7))
            store.put("photos", "was empty", b"4" * (source.PIECE_BYTES + 7))
            store.put("photos", "was full", b"")

    store.before = grow
    scene.workers = 1
    scene.document["limits"] = {"streams": 1}
    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    facts = only(scene.entries(manifest)["photos/log"].object)
    assert facts.etag == store.buckets["photos"]["log"].etag
    assert scene.backup().storage.changed == 0  # the recorded marks are those of what was read


def test_an_object_that_never_stays_the_same_is_an_exception(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "still", b"1")
    store.put("photos", "log", b"0" * (source.PIECE_BYTES + 1))
    numbers = count(1)

    def write(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key == "log":
            store.put("photos", "log", bytes([next(numbers) % 256]) * (source.PIECE_BYTES + 1))

    store.before = write
    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/still": b"1"}
    assert "OBJECT_CHANGED" in (only(scene.entries(manifest)["photos/log"].object).unread or "")
    assert "'photos/log' is not in this backup" in manifest.exceptions[0]
    # And the next backup tries it again
    store.before = lambda *_: None
    assert scene.bodies(scene.backup()) == store.bodies()


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (
            refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
            "OBJECT_ARCHIVED",
        ),
        (refusal(400, "KMS.DisabledException", "the key is disabled"), "KMS_UNUSABLE"),
        (refusal(403, "AccessDenied", "not authorized to perform: kms:Decrypt"), "KMS_UNUSABLE"),
        (refusal(403, "AccessDenied", "Access Denied"), "STORE_DENIED"),
    ],
)
def test_one_object_that_cannot_be_read_is_an_exception(
    scene: Scene, store: MemoryStore, refused: Exception, code: str
) -> None:
    store.put("photos", "a", b"1")
    store.put("photos", "locked", b"2")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key == "locked":
            raise refused

    store.before = refuse
    manifest = scene.backup()

    entry = scene.entries(manifest)["photos/locked"]
    assert (only(entry.object).unread or "").startswith(f"{code}: ")
    assert (entry.size, entry.frames) == (1, ())
    storage = manifest.storage
    assert (storage.objects, manifest.plaintext_bytes, storage.unread) == (1, 1, 1), "a drill compares these with it"
    assert manifest.exceptions[0].endswith(f"[{code}]")
    assert scene.bodies(manifest) == {"photos/a": b"1"}


@pytest.mark.parametrize("objects", [3, 1000])
def test_a_bucket_of_which_nothing_may_be_read_is_no_backup(
    scene: Scene, store: MemoryStore, objects: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 30)
    for number in range(objects):
        store.put("photos", f"{number:05}", b"1")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get":
            raise refusal(403, "AccessDenied", "Access Denied")

    store.before = refuse
    with pytest.raises(StoreError) as refused:
        scene.backup()

    assert refused.value.code == "STORE_DENIED"
    assert "s3:GetObject on arn:aws:s3:::photos/*" in (refused.value.hint or "")
    assert store.requests["get"] <= 500  # it does not ask for each of many


@pytest.mark.parametrize("readable", ["z/1", "archive/z/1", "archive/2020/99", "other"])
def test_objects_that_may_not_be_read_at_the_beginning_of_a_bucket_are_exceptions(
    scene: Scene, store: MemoryStore, readable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 30)
    scene.document["buckets"] = [{"name": "photos", "exclude": ["archive/a*"]}]
    for number in range(60):
        store.put("photos", f"archive/2020/{number:02}", b"1")
    store.put("photos", readable, b"2")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key != readable:
            raise refusal(403, "AccessDenied", "Access Denied")

    store.before = refuse
    manifest = scene.backup()

    assert scene.bodies(manifest) == {f"photos/{readable}": b"2"}
    assert manifest.storage.unread == 60


@pytest.mark.parametrize("broken", ["photos/a", "photos/m", "photos/z"])
def test_an_object_at_which_the_store_always_fails_is_an_exception(
    scene: Scene, store: MemoryStore, broken: str
) -> None:
    for key in ("a", "m", "z"):
        store.put("photos", key, b"1")

    def fail(operation: str, call: Call, number: int) -> None:
        if operation == "get" and f"{call.bucket}/{call.key}" == broken:
            raise refusal(503, "SlowDownRead", "Resource requested is unreadable, please reduce your request rate")

    store.before = fail
    manifest = scene.backup()

    assert set(scene.bodies(manifest)) == {"photos/a", "photos/m", "photos/z"} - {broken}
    assert manifest.exceptions[0].endswith("[STORE_UNAVAILABLE]")


def test_many_exceptions_are_told_in_a_few_lines(scene: Scene, store: MemoryStore) -> None:
    for number in range(200):
        store.put("photos", f"{number:05}", b"1")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key != "00003":
            raise refusal(403, "InvalidObjectState")

    store.before = refuse
    manifest = scene.backup()

    assert manifest.storage.unread == 199
    assert len(manifest.exceptions) == 1
    assert manifest.exceptions[0].startswith("199 objects of photos are not in this backup: ")
    assert "'photos/00000', " in manifest.exceptions[0]
    assert manifest.exceptions[0].endswith(" and 189 more.")


def test_exceptions_are_grouped_by_reason_in_the_words_of_the_store(scene: Scene, store: MemoryStore) -> None:
    for number in range(40):
        store.put("photos", f"{number:05}", b"1")
    words = "The object was stored using a form of Server Side Encryption."

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key < "00030":
            raise refusal(400, "InvalidRequest", words)
        if operation == "get" and call.key < "00032":
            raise refusal(403, "AccessDenied", "Access Denied")

    store.before = refuse
    manifest = scene.backup()

    assert manifest.storage.unread == 32
    encrypted, denied = manifest.exceptions
    assert encrypted.startswith("30 objects of photos are not in this backup: s3:GetObject failed on them.")
    assert f"The store says: InvalidRequest: {words} [STORE_FAILED]" in encrypted
    assert denied.startswith("2 objects of photos are not in this backup: s3:GetObject was denied on them.")
    assert denied.endswith("They are 'photos/00030', 'photos/00031'.")
    assert words in (only(scene.entries(manifest)["photos/00007"].object).unread or "")


def test_a_bucket_that_is_encrypted_by_keys_of_the_customer_says_so(scene: Scene, store: MemoryStore) -> None:
    for number in range(3):
        store.put("photos", f"{number:05}", b"1")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get":
            raise refusal(400, "InvalidRequest", "stored using Server Side Encryption")

    store.before = refuse
    with pytest.raises(StoreError, match="None of 3 objects") as refused:
        scene.backup()

    assert "stored using Server Side Encryption" in (refused.value.detail or "")
    assert "SSE-C" in (refused.value.hint or "")


def test_bytes_that_change_on_the_way_are_read_again(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "a", b"right")
    damaged = iter([True])

    def damage(call: Call, answer: Answer) -> Answer:
        return replace(answer, body=b"wrong") if call.key == "a" and next(damaged, False) else answer

    store.change = damage
    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/a": b"right"}


def test_bytes_that_always_change_on_the_way_are_an_exception(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "a", b"right")
    store.put("photos", "b", b"right")
    numbers = count(1)

    def damage(call: Call, answer: Answer) -> Answer:
        return replace(answer, body=b"%05d" % next(numbers)) if call.key == "a" else answer

    store.change = damage
    manifest = scene.backup()

    assert "[DOWNLOAD_CORRUPTED]" in manifest.exceptions[0]


def test_an_etag_that_is_no_digest_is_not_taken_for_one(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "kms", b"1")
    store.buckets["photos"]["kms"] = replace(store.buckets["photos"]["kms"], etag="f" * 32)

    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/kms": b"1"}


def test_tags_that_may_not_be_read_are_said_once(scene: Scene, store: MemoryStore) -> None:
    for key in ("a", "b"):
        store.put("photos", key, b"1", tags={"x": "y"})

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "tagging":
            raise refusal(403, "AccessDenied")

    store.before = refuse
    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert manifest.exceptions == ("Tags of objects in photos could not be read: STORE_DENIED. (2 times)",)


def test_grants_are_kept_where_objects_have_them(scene: Scene, store: MemoryStore) -> None:
    scene.has_acls = True
    for key in ("a", "b"):
        store.put("photos", key, b"1")

    manifest = scene.backup()

    assert only(scene.entries(manifest)["photos/a"].object).acl == ("AllUsers=READ",)
    assert store.requests["acl"] == 3  # the bucket is asked once


# --- what stops it ---


def test_a_missing_bucket_is_named(scene: Scene) -> None:
    scene.document["buckets"] = [{"name": "phots"}]

    with pytest.raises(StoreError, match="bucket phots does not exist") as missing:
        scene.backup()

    assert missing.value.code == "BUCKET_MISSING"


@pytest.mark.parametrize(
    ("refused", "code", "said"),
    [
        (refusal(403, "AccessDenied"), "STORE_DENIED", "s3:ListBucket"),
        (refusal(301, "PermanentRedirect", x_amz_bucket_region="us-west-2"), "BUCKET_REGION", "us-west-2"),
        (refusal(403, "RequestTimeTooSkewed"), "CLOCK_SKEWED", "clock"),
        (refusal(403, "SignatureDoesNotMatch"), "STORE_CREDENTIALS", "access key"),
    ],
)
def test_a_listing_that_is_refused_says_what_to_do(
    scene: Scene, store: MemoryStore, refused: Exception, code: str, said: str
) -> None:
    def refuse(operation: str, call: Call, number: int) -> None:
        raise refused

    store.before = refuse
    with pytest.raises(CoffreError) as stopped:
        scene.backup()

    assert stopped.value.code == code
    assert said in str(stopped.value)
    assert not list((scene.root / "vault").rglob("manifest.json"))


def test_a_store_that_goes_down_before_anything_is_stored_fails(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "a", b"1")

    def fail(operation: str, call: Call, number: int) -> None:
        if operation == "get":
            raise refusal(503, "SlowDown")

    store.before = fail
    with pytest.raises(StoreTransientError) as stopped:
        scene.backup()

    assert stopped.value.code == "STORE_THROTTLED"


# --- stores with an order of their own ---


def test_a_store_that_sorts_by_directories_is_sorted(scene: Scene) -> None:
    store = MemoryStore(page_size=7, order=directory_order)
    scene.store = store
    for key in ("a/x", "a/y/z", "a-b", "a.txt", "a/", "a!", "b", "a0", "A"):
        store.put("photos", key, key.encode())

    manifest = scene.backup()

    assert scene.bodies(manifest) == store.bodies()
    assert scene.backup().storage.changed == 0
