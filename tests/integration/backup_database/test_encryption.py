"""What is stored: age frames that only the identity opens, or plain ones where the configuration says so."""

from __future__ import annotations

import gzip
import hashlib
import re

import pyrage
import pytest
from backports import zstd
from tests.integration.conftest import Coffre, client, run_sql

from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, Manifest
from coffre.vault.codec import AGE_MAGIC, new_identity, public_key
from coffre_local.sample import fingerprint

# Short enough that it could stand anywhere, and found in no compressed or encrypted byte stream by chance.
KNOWN = (b"Ada Lovelace", b"customers", b"orders_by_customer", b"CREATE TABLE")
WARNING = "NOT encrypted"


def contents(coffre: Coffre, backup_id: str) -> tuple[Manifest, list[Entry]]:
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup_id)
    assert found is not None
    return found[0], list(vault.entries(found[0]))


def frames(coffre: Coffre, entries: list[Entry]) -> dict[bytes, bytes]:
    """Every frame's stored bytes with the SHA-256 of its plaintext."""
    packs = coffre.objects("v1/packs/")
    return {
        packs[frame.pack][frame.offset : frame.offset + frame.length]: bytes.fromhex(frame.sha256)
        for entry in entries
        for frame in entry.frames
    }


def test_with_age_no_plaintext_is_in_any_pack_and_every_frame_is_an_age_file(coffre: Coffre, shop: str) -> None:
    second = new_identity()
    coffre.configure(shop, recipients=[public_key(coffre.identity), public_key(second)])

    manifest, entries = contents(coffre, coffre.backup()["id"])

    # Then nothing that is known to be in the database is in a pack, compressed or not
    for pack in coffre.objects("v1/packs/").values():
        assert not any(known in pack for known in KNOWN)
        assert zstd.compress(b"")[:4] not in pack
    # And every frame is an age file for exactly these two, either of whom can open it
    stored = frames(coffre, entries)
    assert stored
    for frame, sha256 in stored.items():
        assert frame.startswith(AGE_MAGIC)
        assert frame[: frame.index(b"\n--- ")].count(b"-> X25519 ") == 2
        for identity in (coffre.identity, second):
            plaintext = zstd.decompress(pyrage.decrypt(frame, [pyrage.x25519.Identity.from_str(identity)]))
            assert hashlib.sha256(plaintext).digest() == sha256
    assert manifest.encryption == "age"
    assert set(manifest.recipients) == {public_key(coffre.identity), public_key(second)}
    assert not any(WARNING in line for line in coffre.log_lines)


def test_every_byte_of_a_pack_belongs_to_a_frame(coffre: Coffre, shop: str) -> None:
    """Nothing could hide between them."""
    coffre.configure(shop)

    manifest, entries = contents(coffre, coffre.backup()["id"])

    used = {(frame.pack, frame.offset, frame.length) for entry in entries for frame in entry.frames}
    for pack in manifest.packs:
        assert sum(length for key, _, length in used if key == pack.key) == pack.length
        assert hashlib.sha256(coffre.objects()[pack.key]).hexdigest() == pack.sha256


def test_the_function_that_writes_cannot_read(coffre: Coffre, shop: str) -> None:
    """It works without the identity, and holds nothing that it could have it from."""
    coffre.configure(shop)
    del coffre.environment["COFFRE_IDENTITY_SECRET"]

    assert coffre.backup()["status"] == "COMPLETED"

    assert coffre.backup_function().services.settings.identity_secret is None


def test_encryption_none_stores_plain_zstd_and_warns_at_every_run(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop, encryption="none", recipients=[])
    del coffre.environment["COFFRE_IDENTITY_SECRET"]

    for run in (1, 2):
        coffre.backup(full=True)
        assert sum(WARNING in line for line in coffre.log_lines) == run

    (newest, _) = coffre.backups()
    manifest, entries = contents(coffre, newest.id)
    assert (manifest.encryption, manifest.recipients, newest.encryption) == ("none", (), "none")
    for frame, sha256 in frames(coffre, entries).items():
        assert hashlib.sha256(zstd.decompress(frame)).digest() == sha256
    # And it is restored without an identity
    coffre.restore(newest.id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)


def test_encryption_none_warns_at_a_run_that_fails_too(coffre: Coffre, shop: str) -> None:
    coffre.configure(f"{shop}_gone", encryption="none", recipients=[])

    with pytest.raises(CoffreError, match="DATABASE_MISSING"):
        coffre.backup()

    assert any(WARNING in line for line in coffre.log_lines)


def test_an_encrypted_backup_points_at_no_frame_that_was_stored_without_encryption(coffre: Coffre, shop: str) -> None:
    """Unchanged data is not stored twice; unencrypted data is no excuse."""
    coffre.configure(shop, encryption="none", recipients=[])
    coffre.backup()

    coffre.configure(shop)
    _, entries = contents(coffre, coffre.backup()["id"])

    assert all(frame.startswith(AGE_MAGIC) for frame in frames(coffre, entries))


def test_the_manifest_and_the_entries_hold_no_rows(coffre: Coffre, shop: str) -> None:
    """They are not encrypted: names and hashes are all that they may hold."""
    run_sql(shop, "INSERT INTO customers VALUES (1000, 'Grace Hopper')")
    coffre.configure(shop)
    backup_id = coffre.backup()["id"]

    records = coffre.objects(f"v1/backups/shop/{backup_id}/")

    lines = zstd.decompress(records[f"v1/backups/shop/{backup_id}/entries.jsonl.zst"])
    text = b"\n".join([lines, *records.values()])
    assert not re.search(rb"Hopper|Lovelace", text)
    assert gzip.compress(b"")[:2] not in lines


def test_a_target_with_keys_of_its_own_is_opened_by_its_own_secret_and_by_no_other(coffre: Coffre, shop: str) -> None:
    # Given an old backup with the keys of all targets, and a new one with the target's own
    coffre.configure(shop)
    old = coffre.backup()["id"]
    own = new_identity()
    coffre.secret("coffre/identity/main/shop", own)
    coffre.configure(shop, target={"recipients": [public_key(own)]})
    new = coffre.backup()["id"]

    # Then the new one is for the target's key alone, and the functions open both
    manifest, entries = contents(coffre, new)
    assert manifest.recipients == (public_key(own),)
    assert "The recipients changed: everything was stored again." in manifest.notes
    for frame in frames(coffre, entries):
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(frame, [pyrage.x25519.Identity.from_str(coffre.identity)])
        pyrage.decrypt(frame, [pyrage.x25519.Identity.from_str(own)])
    for backup_id in (old, new):
        assert coffre.verify("read", backup_id=backup_id)["damaged"] == []
        assert [one["outcome"] for one in coffre.verify("read", backup_id=backup_id)["examined"]] == ["verified"]

    # And without the secret of the target the new one cannot be read
    client("secretsmanager").delete_secret(SecretId="coffre/identity/main/shop", ForceDeleteWithoutRecovery=True)
    [problem] = coffre.verify("read", backup_id=new)["problems"]
    assert problem["code"] == "WRONG_IDENTITY"


def test_when_every_target_has_its_own_secret_the_common_one_may_be_missing(coffre: Coffre, shop: str) -> None:
    own = new_identity()
    coffre.secret("coffre/identity/main/shop", own)
    client("secretsmanager").delete_secret(SecretId="coffre/identity/main", ForceDeleteWithoutRecovery=True)
    coffre.configure(shop, recipients=[], target={"recipients": [public_key(own)]})

    backup = coffre.backup()["id"]

    assert coffre.verify("read", target="shop")["problems"] == []
    assert coffre.catalog.get_backup(backup).verified_at is not None
