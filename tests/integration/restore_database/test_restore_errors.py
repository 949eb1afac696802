"""Restores that must not succeed: backups that cannot be trusted, destinations that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pyrage
import pytest
from tests.integration.conftest import Coffre, Context, new_id, run_sql, with_password
from tests.integration.expect import failed_restore, no_secret
from tests.integration.faults import CutProxy, answer, children, file_size_limit

from coffre.model.backup import Failure, Status
from coffre.model.errors import CoffreError
from coffre.model.manifest import EntryKind, Frame
from coffre.operations.restore_database import load_plan, provider_rows, table_rows
from coffre.operations.restore_database import whole_database as restore_whole
from coffre.postgres.destination import copy_in as load
from coffre.vault.codec import FrameEncoder, new_identity, public_key
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint


@pytest.fixture
def good(coffre: Coffre, shop: str) -> str:
    """The id of a good backup of the shop."""
    coffre.configure(shop)
    return str(coffre.backup()["id"])


@pytest.fixture
def destination(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database that exists, dropped afterwards."""
    url = postgres_server.create_database("destination")
    yield with_password(url)
    postgres_server.drop_database("destination")


def exists(url: str) -> bool:
    name = urlsplit(url).path[1:]
    query = f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"
    ((found,),) = run_sql(url.replace(f"/{name}", "/postgres"), query)
    return bool(found)


def relations(url: str) -> int:
    ((count,),) = run_sql(
        url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v')"
    )
    return int(count)


def is_restorable(coffre: Coffre, backup_id: str, shop: str, new_database: str) -> None:
    coffre.restore(backup_id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)


@pytest.mark.parametrize(
    ("scope", "what"),
    [
        ({"contents": "data"}, "The rows"),
        ({"tables": ["*"], "with_dependencies": True}, "The chosen tables"),
        ({}, "The large objects"),
    ],
    ids=["rows only", "tables", "large objects"],
)
def test_what_cannot_fit_into_a_function_too_short_to_continue_is_refused_before_anything_is_changed(
    coffre: Coffre, shop: str, destination: str, monkeypatch: pytest.MonkeyPatch, scope: dict[str, Any], what: str
) -> None:
    run_sql(shop, "SELECT lo_from_bytea(4711, 'large')")
    coffre.configure(shop)
    backup_id = str(coffre.backup()["id"])
    monkeypatch.setattr(load_plan, "_MOST_BYTES_A_SECOND", 0)

    asked = {"backup_id": backup_id, "destination": destination, "context": Context(lambda: 100.0), **scope}

    failed_restore(coffre, "RESTORE_TOO_LARGE", what, "--here", **asked)

    assert relations(destination) == 0


# --- which backup ---


def test_an_unknown_id_is_an_error_that_names_it(coffre: Coffre, good: str, new_database: str) -> None:
    unknown = "01J9ZQ3V5W8X9YABCDEFGHJKMN"

    failed_restore(
        coffre, "BACKUP_UNKNOWN", unknown, "coffre list", backup_id=unknown, destination=new_database, recorded=False
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [(Status.FAILED, ["it failed (DUMP_FAILED: out of luck)"]), (Status.IN_PROGRESS, ["still running"])],
)
def test_only_a_completed_backup_can_be_restored(
    coffre: Coffre, good: str, new_database: str, status: Status, words: list[str]
) -> None:
    other = coffre.catalog.get_backup(good).model_copy(
        update={"id": new_id(), "status": Status.IN_PROGRESS, "manifest_key": None, "manifest_sha256": None}
    )
    coffre.catalog.create_backup(other)
    if status is Status.FAILED:
        failure = Failure(code="DUMP_FAILED", message="out of luck")
        coffre.catalog.fail_backup(other.id, failure, other.created_at)

    failed_restore(
        coffre, "BACKUP_NOT_COMPLETED", other.id, *words, "--status COMPLETED",
        backup_id=other.id, destination=new_database, recorded=False,
    )  # fmt: skip
    assert not exists(new_database)


def test_latest_is_the_newest_completed_backup(coffre: Coffre, shop: str, good: str, new_database: str) -> None:
    newest = coffre.backup()["id"]
    coffre.configure(f"{shop}_gone")
    with pytest.raises(CoffreError):
        coffre.backup()

    restored = coffre.restore("latest", new_database, target="shop")

    assert restored["backup_id"] == newest


def test_latest_without_any_is_an_error(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)

    failed_restore(
        coffre, "BACKUP_UNKNOWN", 'no completed backup of "shop"',
        backup_id="latest", destination=new_database, target="shop", recorded=False,
    )  # fmt: skip


def test_a_backup_of_another_target_is_refused(coffre: Coffre, good: str, new_database: str) -> None:
    failed_restore(
        coffre, "EVENT_INVALID", "is of shop, not of blog",
        backup_id=good, destination=new_database, target="blog", recorded=False,
    )  # fmt: skip


# --- what is in the vault ---


def frame_of(coffre: Coffre, backup_id: str, kind: EntryKind) -> Frame:
    """The first frame of an entry of this kind."""
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup_id)
    assert found is not None
    entry = next(entry for entry in vault.entries(found[0]) if entry.kind is kind)
    return entry.frames[0]


def pack_of(coffre: Coffre, backup_id: str, kind: EntryKind) -> tuple[str, int, int]:
    """Key, offset and length of that frame."""
    frame = frame_of(coffre, backup_id, kind)
    return frame.pack, frame.offset, frame.length


def flip(coffre: Coffre, key: str, position: int) -> None:
    """Change one bit of a stored object."""
    body = bytearray(coffre.objects()[key])
    body[position] ^= 0x01
    coffre.put_object(key, bytes(body))


def encrypt_to_length(plaintext: bytes, recipient: str, length: int) -> bytes:
    """Encrypt until the result is this long: an age header has a piece of random length."""
    padded = plaintext
    for _ in range(10_000):
        stored = pyrage.encrypt(padded, [pyrage.x25519.Recipient.from_str(recipient)])
        if len(stored) == length:
            return stored
        padded = plaintext.ljust(len(padded) + length - len(stored), b"\0")
    raise AssertionError


def delete(coffre: Coffre, key: str) -> None:
    coffre.backup_function().services.vault.store.delete(key)


@pytest.mark.parametrize("kind", [EntryKind.SCHEMA, EntryKind.TABLE])
def test_a_missing_pack_is_an_error_that_names_it(
    coffre: Coffre, good: str, new_database: str, kind: EntryKind
) -> None:
    key, _, _ = pack_of(coffre, good, kind)
    delete(coffre, key)

    failed_restore(coffre, "PACK_MISSING", key, "Restore an older one", backup_id=good, destination=new_database)
    assert not exists(new_database)


def regions(stored: bytes) -> dict[str, int]:
    """One position in each region of an age file."""
    body = stored.index(b"\n--- ") + len(b"\n--- ") + 43 + 1
    return {
        "magic": 2,
        "stanza": stored.index(b"-> X25519 ") + 15,
        "wrapped key": stored.index(b"\n", stored.index(b"-> X25519 ")) + 5,
        "mac": stored.index(b"\n--- ") + 8,
        "nonce": body + 3,
        "first byte of the body": body + 16,
        "middle of the body": (body + 16 + len(stored)) // 2,
        "last byte": len(stored) - 1,
    }


@pytest.mark.parametrize("kind", [EntryKind.SCHEMA, EntryKind.TABLE])
def test_one_flipped_bit_anywhere_in_a_frame_is_noticed(
    coffre: Coffre, shop: str, good: str, new_database: str, kind: EntryKind
) -> None:
    key, offset, length = pack_of(coffre, good, kind)
    whole = coffre.objects()[key]
    for position in regions(whole[offset : offset + length]).values():
        flip(coffre, key, offset + position)

        failed_restore(
            coffre, "FRAME_DAMAGED", "A stored frame is damaged", key, "Restore an older one",
            backup_id=good, destination=new_database,
        )  # fmt: skip

        assert not exists(new_database)
        coffre.put_object(key, whole)
    is_restorable(coffre, good, shop, new_database)


def test_one_flipped_bit_is_noticed_without_encryption_too(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop, encryption="none", recipients=[])
    plain = str(coffre.backup()["id"])
    key, offset, length = pack_of(coffre, plain, EntryKind.TABLE)
    whole = coffre.objects()[key]
    for position in (0, 5, length // 2, length - 1):
        flip(coffre, key, offset + position)

        failed_restore(coffre, "FRAME_DAMAGED", key, backup_id=plain, destination=new_database)

        coffre.put_object(key, whole)
    is_restorable(coffre, plain, shop, new_database)


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_truncated_pack_is_noticed(coffre: Coffre, good: str, new_database: str, kept: int) -> None:
    key, _, _ = pack_of(coffre, good, EntryKind.TABLE)
    coffre.put_object(key, coffre.objects()[key][:kept])

    failed_restore(coffre, "OBJECT_TRUNCATED", key, backup_id=good, destination=new_database)
    assert not exists(new_database)


def test_a_pack_of_another_backup_in_its_place_is_noticed(
    coffre: Coffre, shop: str, good: str, new_database: str
) -> None:
    run_sql(shop, "UPDATE customers SET name = 'Charles Babbage'")
    other = str(coffre.backup(full=True)["id"])
    (key, *_), (foreign, *_) = pack_of(coffre, good, EntryKind.TABLE), pack_of(coffre, other, EntryKind.TABLE)
    coffre.put_object(key, coffre.objects()[foreign])

    with pytest.raises(CoffreError) as caught:
        coffre.restore(good, new_database)

    assert caught.value.code in ("FRAME_DAMAGED", "OBJECT_TRUNCATED")
    assert not exists(new_database)


@pytest.mark.parametrize("encryption", ["age", "none"])
def test_a_forged_frame_that_opens_is_noticed_by_its_hash(
    coffre: Coffre, shop: str, new_database: str, encryption: str
) -> None:
    """Everyone can encrypt to a public key: whoever can write to the vault could put other rows there."""
    recipients = [public_key(coffre.identity)] if encryption == "age" else []
    coffre.configure(shop, encryption=encryption, recipients=recipients)
    good = str(coffre.backup()["id"])
    frame = frame_of(coffre, good, EntryKind.TABLE)
    stored = coffre.objects()[frame.pack]

    # When a frame is replaced by one of the same lengths, inside and outside, that decrypts and decompresses
    forged = FrameEncoder(()).encode(b"1\tMallory\n".ljust(frame.size, b"\n"))
    forged = encrypt_to_length(forged, recipients[0], frame.length) if recipients else forged.ljust(frame.length, b"\0")
    coffre.put_object(frame.pack, stored[: frame.offset] + forged + stored[frame.offset + frame.length :])

    # Then nothing of it is loaded
    failed_restore(
        coffre, "FRAME_DAMAGED", "the SHA-256 of the plaintext differs", backup_id=good, destination=new_database
    )
    assert not exists(new_database)


def test_a_swapped_manifest_is_noticed(coffre: Coffre, shop: str, good: str, new_database: str) -> None:
    """The catalog knows the manifest's hash: not even a whole and valid one of another backup is taken."""
    other = str(coffre.backup()["id"])
    key = f"v1/backups/shop/{good}/manifest.json"
    coffre.put_object(key, coffre.objects()[key.replace(good, other)])

    failed_restore(coffre, "MANIFEST_SWAPPED", key, "Restore an older one", backup_id=good, destination=new_database)
    is_restorable(coffre, other, shop, new_database)


def test_a_manifest_whose_row_count_was_changed_is_noticed(coffre: Coffre, good: str, new_database: str) -> None:
    key = f"v1/backups/shop/{good}/manifest.json"
    manifest = json.loads(coffre.objects()[key])
    manifest["rows"] -= 1
    coffre.put_object(key, json.dumps(manifest).encode())

    failed_restore(coffre, "MANIFEST_SWAPPED", key, backup_id=good, destination=new_database)


@pytest.mark.parametrize(
    ("name", "code"), [("manifest.json", "MANIFEST_MISSING"), ("entries.jsonl.zst", "ENTRIES_MISSING")]
)
def test_a_missing_record_is_an_error_that_names_it(
    coffre: Coffre, good: str, new_database: str, name: str, code: str
) -> None:
    key = f"v1/backups/shop/{good}/{name}"
    delete(coffre, key)

    failed_restore(coffre, code, key, backup_id=good, destination=new_database)


@pytest.mark.parametrize("change", ["flip", "truncate", "swap"])
def test_a_damaged_list_of_entries_is_noticed(
    coffre: Coffre, shop: str, good: str, new_database: str, change: str
) -> None:
    key = f"v1/backups/shop/{good}/entries.jsonl.zst"
    body = coffre.objects()[key]
    run_sql(shop, "DELETE FROM orders WHERE id = 1")
    other = key.replace(good, str(coffre.backup()["id"]))
    changed = {"flip": bytes([body[0] ^ 1, *body[1:]]), "truncate": body[:-3], "swap": coffre.objects()[other]}[change]
    coffre.put_object(key, changed)

    failed_restore(coffre, "ENTRIES_SWAPPED", key, backup_id=good, destination=new_database)


# --- identities ---


def test_the_identity_of_somebody_else_is_refused_before_anything_is_made(
    coffre: Coffre, good: str, new_database: str
) -> None:
    other = new_identity()
    coffre.secret("coffre/identity/main", other)

    error = failed_restore(
        coffre, "WRONG_IDENTITY", public_key(coffre.identity), "coffre show",
        backup_id=good, destination=new_database,
    )  # fmt: skip
    assert other not in f"{error} {coffre.log_lines} {coffre.alerts_read}"
    assert not exists(new_database)


def test_a_missing_identity_is_refused(coffre: Coffre, good: str, new_database: str) -> None:
    del coffre.environment["COFFRE_IDENTITY_SECRET"]

    failed_restore(
        coffre, "IDENTITY_MISSING", "no age identity is configured", backup_id=good, destination=new_database
    )


def test_a_malformed_identity_is_not_repeated(coffre: Coffre, good: str, new_database: str) -> None:
    broken = coffre.identity[:-3]
    coffre.secret("coffre/identity/main", broken)

    error = failed_restore(coffre, "IDENTITY_INVALID", backup_id=good, destination=new_database)

    assert broken not in f"{error} {coffre.log_lines} {coffre.alerts_read}"


def test_one_of_several_identities_is_enough(coffre: Coffre, shop: str, good: str, new_database: str) -> None:
    coffre.secret("coffre/identity/main", f"# old\n{new_identity()}\n# current\n{coffre.identity}\n")

    is_restorable(coffre, good, shop, new_database)


# --- where to ---


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("CREATE TABLE precious (id int)", "public.precious"),
        ("CREATE VIEW precious AS SELECT 1 AS one", "public.precious"),
        ("CREATE MATERIALIZED VIEW precious AS SELECT 1 AS one", "public.precious"),
        ("CREATE SEQUENCE precious", "public.precious"),
        ("CREATE SCHEMA mine CREATE TABLE precious (id int) PARTITION BY LIST (id)", "mine.precious"),
        ('CREATE TABLE "Very Precious" (id int)', 'public."Very Precious"'),
    ],
)
def test_a_destination_with_anything_in_it_is_refused_and_left_as_it_is(
    coffre: Coffre, good: str, destination: str, content: str, name: str
) -> None:
    run_sql(destination, content)
    before = fingerprint(destination)

    error = failed_restore(
        coffre, "DESTINATION_NOT_EMPTY", f"it has {name}", "Nothing was changed", "a name that does not exist yet",
        backup_id=good, destination=destination,
    )  # fmt: skip

    assert "holds a part of the backup" not in str(getattr(error, "__notes__", ""))
    assert fingerprint(destination) == before


def test_an_existing_empty_database_is_loaded_into(coffre: Coffre, shop: str, good: str, destination: str) -> None:
    coffre.restore(good, destination)

    assert fingerprint(destination) == fingerprint(shop)


def test_a_role_that_may_not_create_databases_is_told_what_to_do(
    coffre: Coffre, shop: str, good: str, new_database: str
) -> None:
    run_sql(shop, "CREATE ROLE plain LOGIN")
    try:
        failed_restore(
            coffre, "CREATE_DATABASE_FAILED", "could not be created", "Create it empty yourself", "CREATEDB",
            backup_id=good, destination=with_password(new_database, "plain"),
        )  # fmt: skip
    finally:
        run_sql(shop, "DROP ROLE plain")


# --- what breaks on the way ---


@pytest.fixture
def orphaned(coffre: Coffre, shop: str) -> str:
    """The id of a backup whose rows break a foreign key, which only shows when the key is made again."""
    run_sql(
        shop,
        "SET session_replication_role = replica; INSERT INTO orders (customer) VALUES (999)",
    )
    coffre.configure(shop)
    return str(coffre.backup()["id"])


def test_a_restore_that_fails_drops_the_database_that_it_had_created(
    coffre: Coffre, orphaned: str, new_database: str
) -> None:
    failed_restore(
        coffre, "SCHEMA_FAILED", "violates foreign key constraint", "orders_customer_fkey",
        backup_id=orphaned, destination=new_database, strict=True,
    )  # fmt: skip

    assert not exists(new_database)
    (restore,) = coffre.catalog.restores()
    assert restore.failure is not None
    assert "was dropped again" in restore.failure.message


def test_a_restore_that_fails_in_an_existing_database_says_what_is_left(
    coffre: Coffre, orphaned: str, destination: str
) -> None:
    failed_restore(coffre, "SCHEMA_FAILED", backup_id=orphaned, destination=destination, strict=True)

    (restore,) = coffre.catalog.restores()
    assert restore.failure is not None
    assert "the same restore with --restart removes that and begins again" in restore.failure.message
    assert any("holds a part of the backup" in alert for alert in coffre.alerts_read)
    assert relations(destination) > 0


def test_rows_that_somebody_else_adds_meanwhile_are_noticed(
    coffre: Coffre, good: str, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_sequences = provider_rows.restore_sequences

    def meanwhile(*arguments: Any) -> None:
        run_sql(destination, "INSERT INTO customers VALUES (1000, 'a stranger')")
        restore_sequences(*arguments)

    monkeypatch.setattr(restore_whole, "restore_sequences", meanwhile)

    failed_restore(
        coffre, "ROWS_DIFFER", "public.customers", "the table has 51 rows, 50 were backed up",
        backup_id=good, destination=destination,
    )  # fmt: skip


@pytest.mark.parametrize("existing", [True, False])
def test_a_network_that_is_cut_in_the_middle_is_a_failed_restore(
    coffre: Coffre, good: str, destination: str, new_database: str, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    """Then the database cannot be dropped either; that must not hide why the restore failed."""
    url = destination if existing else new_database
    port = urlsplit(url).port
    with CutProxy(port or 0) as proxy, monkeypatch.context() as faulty:
        copy_in = load.copy_in

        def cut_and_copy(*arguments: Any, **options: Any) -> int:
            proxy.cut()
            return copy_in(*arguments, **options)

        faulty.setattr(table_rows, "copy_in", cut_and_copy)
        failed_restore(
            coffre, "CONNECTION_LOST", "was cut",
            backup_id=good, destination=url.replace(f":{port}/", f":{proxy.port}/"),
        )  # fmt: skip

    (restore,) = coffre.catalog.restores()
    assert restore.failure is not None
    left = "may hold a part of the backup" if existing else "could not be dropped: drop it"
    assert left in restore.failure.message
    assert children() == []


def test_two_restores_into_one_database_do_not_mix(coffre: Coffre, shop: str, good: str, destination: str) -> None:
    _race(coffre, good, destination)

    assert fingerprint(destination) == fingerprint(shop)


def test_two_restores_into_one_new_database_do_not_mix(coffre: Coffre, shop: str, good: str, new_database: str) -> None:
    """The one that comes second must not drop what the other one loads into."""
    _race(coffre, good, new_database)

    assert fingerprint(new_database) == fingerprint(shop)


def _race(coffre: Coffre, backup_id: str, url: str) -> None:
    coffre.restore_function()

    def restore(_: int) -> str:
        try:
            return str(coffre.restore(backup_id, url)["status"])
        except CoffreError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        codes = sorted(pool.map(restore, range(2)))

    assert codes[0] == "COMPLETED"
    # The second came while the first was loading, or when it was done.
    assert codes[1] in ("DESTINATION_BUSY", "DESTINATION_NOT_EMPTY")


def test_a_full_disk_is_an_error_that_says_which_setting_to_raise(coffre: Coffre, shop: str, new_database: str) -> None:
    run_sql(shop, f"COMMENT ON TABLE orders IS '{'long ' * 20_000}'")
    coffre.configure(shop)
    done = coffre.backup()
    coffre.restore_function()

    with file_size_limit(64 * 1024), pytest.raises(CoffreError) as caught:
        coffre.restore(done["id"], new_database)

    assert caught.value.code == "SCRATCH_FULL"
    (restore,) = coffre.catalog.restores()
    assert restore.status is Status.FAILED
    assert not exists(new_database)
    no_secret(coffre, caught.value)


def test_a_catalog_that_is_gone_at_the_end_leaves_the_restored_database_alone(
    coffre: Coffre, shop: str, good: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data is there and was checked: only the record is not."""
    table = coffre.restore_function().services.catalog._table._connection
    update: Callable[..., Any] = table.update_item

    def refuse_the_end(*arguments: Any, **named: Any) -> Any:
        if "COMPLETED" in repr(named) or "FAILED" in repr(named):
            raise answer("InternalServerError", status=500)
        return update(*arguments, **named)

    monkeypatch.setattr(table, "update_item", refuse_the_end)

    answer_of_restore = coffre.restore(good, new_database)

    assert answer_of_restore["status"] == "COMPLETED"
    assert answer_of_restore["exceptions"] == 1
    assert fingerprint(new_database) == fingerprint(shop)
