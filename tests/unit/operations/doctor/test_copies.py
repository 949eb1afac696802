"""Copies are opened and listed, and what they share with the vault is known from the configuration."""

from pathlib import Path
from typing import Any

import pytest
from tests.locking_store import LockingDirectory

from coffre.model.checkup import State
from coffre.model.copies import Destination
from coffre.model.errors import SecretError, StoreError
from coffre.model.locks import LockMode
from coffre.operations.doctor.copies import read_copies
from coffre.policy.checks.check import facts_of
from coffre.policy.checks.copies_facts import CopyPlace
from coffre.policy.checks.registry import run_checks
from coffre.stores.directory import DirectoryStore
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
    assert place_of(destination, Vault(DirectoryStore(tmp_path))) == CopyPlace("offsite", near=near)


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
