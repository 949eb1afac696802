"""Copies are opened and listed, and what they share with the vault is known from the configuration."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.locking_store import LockingDirectory

from coffre.model.checkup import State
from coffre.model.copies import Destination
from coffre.model.errors import SecretError, StoreError
from coffre.model.locks import LockMode
from coffre.operations.doctor.copies import as_tried, read_copies, try_copies
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import facts_of
from coffre.policy.checks.copies_facts import CopiesFacts, CopyPlace
from coffre.policy.checks.registry import run_checks
from coffre.stores.body import Body, sha256_of
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3 import S3Store
from coffre.stores.store import Store
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault


def s3(bucket: str, **fields: Any) -> Destination:
    return Destination.model_validate({"name": "offsite", "store": {"type": "s3", "bucket": bucket, **fields}})


def place_of(destination: Destination, vault: Vault) -> CopyPlace:
    facts = read_copies((destination,), lambda _: vault, vault_bucket="vault", vault_region="eu-west-3")
    return facts.places[0]


@pytest.mark.parametrize(
    ("destination", "near"),
    [
        (s3("vault", prefix="copy", region="eu-west-3"), "the same bucket"),
        (s3("other"), "the same region"),
        (s3("other", region="eu-west-3"), "the same region"),
        (s3("other", region="us-east-1"), None),
        (s3("vault", endpoint="https://r2.example.com"), None),
    ],
)
def test_what_a_copy_shares_with_the_vault_is_seen(tmp_path: Path, destination: Destination, near: str | None) -> None:
    assert place_of(destination, Vault(DirectoryStore(tmp_path))).near == near


def test_copies_of_one_place_are_seen_whatever_opens_them(tmp_path: Path) -> None:
    first = s3("other", region="eu-west-3")
    second = s3("other", secret="coffre/copies/other").model_copy(update={"name": "second"})
    third = s3("other", prefix="third").model_copy(update={"name": "third"})
    vault = Vault(DirectoryStore(tmp_path))

    facts = read_copies((first, second, third), lambda _: vault, vault_bucket="vault", vault_region="eu-west-3")

    assert [place.twin for place in facts.places] == [None, "offsite", None]
    tried = as_tried(facts, [CopyPlace("second")])
    assert tried.places[1].twin == "offsite"


def test_a_copy_that_is_missing_or_closed_is_a_finding_and_the_others_are_looked_at(tmp_path: Path) -> None:
    def opened(destination: Destination) -> Vault:
        if destination.name == "closed":
            raise SecretError("There is no secret.", code="SECRET_MISSING")
        if destination.name == "role":
            raise StoreError("It was denied.", code="STORE_DENIED")
        if destination.name == "hidden":
            raise SecretError("You may not.", code="SECRET_DENIED")
        return Vault(DirectoryStore(destination.store.path))  # type: ignore[union-attr]

    stores = {"disk": tmp_path, "closed": tmp_path, "hidden": tmp_path, "role": tmp_path, "absent": tmp_path / "nas"}
    facts = read_copies(
        [
            Destination.model_validate({"name": name, "store": {"type": "directory", "path": str(path)}})
            if name in {"disk", "absent"}
            else s3("other", region="us-east-1").model_copy(update={"name": name})
            for name, path in stores.items()
        ],
        opened,
        vault_bucket="vault",
        vault_region="eu-west-3",
    )
    results = [one for one in run_checks(facts_of(facts)) if one.code == "COPY_UNREACHABLE"]

    assert [(one.state, one.subject) for one in results] == [
        (State.FINDING, "closed"),
        *[(State.COULD_NOT_LOOK, None)] * 3,
    ]
    assert "hidden" in results[1].sentence
    assert "role" in results[2].sentence
    assert "absent" in results[3].sentence


def test_a_copy_that_cannot_lock_is_found(tmp_path: Path) -> None:
    class Lockless(LockingDirectory):
        def require_locking(self) -> None:
            raise SecretError("It has no Object Lock.", code="LOCKS_OFF")

    destination = s3("other", region="us-east-1")
    locking, lockless = LockingDirectory(tmp_path), Lockless(tmp_path)
    fine = place_of(destination, Vault(locking, VaultLocks(locking, LockMode.GOVERNANCE, 400)))
    found = place_of(destination, Vault(lockless, VaultLocks(lockless, LockMode.GOVERNANCE, 400)))

    assert fine.locks is None
    assert found.locks is not None
    assert found.locks.code == "LOCKS_OFF"


def test_the_versioning_of_a_copy_in_aws_is_read_and_no_refusal_is_taken_for_an_answer(aws: None) -> None:
    destination = s3("copy", region="us-east-1")
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="copy", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
        vault = Vault(S3Store("copy", client=client))
        off = place_of(destination, vault)
        client.put_bucket_versioning(Bucket="copy", VersioningConfiguration={"Status": "Enabled"})
        on = place_of(destination, vault)
        unopened = place_of(destination, Vault(S3Store("absent", client=client)))

    assert (off.versioning, on.versioning) == ("Off", "Enabled")
    # The function can list it, and this look cannot: what was not read is said to be unread.
    merged = as_tried(CopiesFacts((unopened,)), [CopyPlace("offsite")])
    (result,) = [one for one in run_checks(facts_of(merged)) if one.code == "COPY_VERSIONING_OFF"]
    assert result.state is State.COULD_NOT_LOOK
    (result,) = [one for one in run_checks(facts_of(CopiesFacts((off,)))) if one.code == "COPY_VERSIONING_OFF"]
    assert (result.state, result.subject) == (State.FINDING, "offsite")
    assert "put-bucket-versioning --bucket copy" in str(result)


MANIFEST = "v1/backups/shop/01K9X000000000000000000000/manifest.json"
NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


class Closed(DirectoryStore):
    """A store that is read, and takes nothing."""

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        raise StoreError("Access denied.", code="STORE_DENIED")


def tried(store: Store, manifest: str | None = None, *, probe: bool = False, **fields: Any) -> CopyPlace:
    destination = s3("other", region="us-east-1").model_copy(update=fields)
    (place,) = try_copies([destination], lambda _: Vault(store), lambda _: manifest, NOON, probe=probe)
    return place


def test_whether_a_copy_takes_backups_is_tried_with_what_it_has_or_with_a_probe(tmp_path: Path) -> None:
    open_store, closed = DirectoryStore(tmp_path), Closed(tmp_path)
    open_store.put(MANIFEST, b"{}", sha256=sha256_of(b"{}"))

    assert tried(open_store, MANIFEST).written is None
    assert [info.key for info in open_store.list()] == [MANIFEST]  # nothing was added
    refused = tried(closed, MANIFEST).written
    assert refused is not None
    assert refused.code == "STORE_DENIED"
    # Without a manifest there it is known by a probe alone
    assert tried(closed).written is None
    assert tried(closed, probe=True).written is not None
    assert tried(open_store, probe=True).written is None
    assert len(list(open_store.list())) == 2
    # A replication writes there, and not Coffre
    assert tried(closed, MANIFEST, copied_by="replication").written is None


def test_what_the_function_found_takes_the_place_of_a_look_from_here() -> None:
    unsure = CopyPlace("offsite", Trouble("STORE_DENIED", "Denied."), is_certain=False, near="the same region")
    disk = CopyPlace("disk")

    merged = as_tried(CopiesFacts((unsure, disk)), [CopyPlace("offsite")])

    assert merged == CopiesFacts((CopyPlace("offsite", near="the same region"), disk))
