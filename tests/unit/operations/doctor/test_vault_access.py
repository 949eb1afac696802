"""What a backup function may do with the vault, tried as a backup does it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.locking_store import LockingDirectory

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import StoreError
from coffre.model.locks import LockMode
from coffre.operations.doctor.vault_access import use_vault
from coffre.policy.checks.check import Unread
from coffre.policy.checks.vault_facts import VaultReach, VaultUse, WriteTest
from coffre.stores.body import Body
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.layout import manifest_key, writer_of
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ID = "01K9X000000000000000000000"
KEY = manifest_key("main", ID)


def newest() -> Backup:
    return Backup(id=ID, target="main", tiers=(Tier.DAILY,), status=Status.COMPLETED, created_at=NOW, manifest_key=KEY)


def look(
    vault: Vault,
    backup: Backup | None,
    *,
    probe: bool = False,
    region: Callable[[], str | None] = lambda: "eu-west-3",
) -> tuple[VaultReach, object]:
    return use_vault(vault, backup, NOW, bucket="vault", function_region="eu-west-3", bucket_region=region, probe=probe)


def use(vault: Vault, backup: Backup | None, *, probe: bool = False) -> VaultUse:
    reach, found = look(vault, backup, probe=probe)
    assert reach == VaultReach("vault")
    assert isinstance(found, VaultUse)
    return found


class Refusing(DirectoryStore):
    """A store that refuses to write."""

    def __init__(self, root: Path, code: str) -> None:
        super().__init__(root)
        self.code = code

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        raise StoreError("It was refused.", code=self.code, hint="Allow it.")


def test_a_vault_with_a_backup_is_tried_with_its_newest_manifest_and_nothing_changes(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put_small(store, KEY, b"{}")

    found = use(Vault(store), newest())

    assert (found.tested, found.written) == (WriteTest.MANIFEST, None)
    assert (found.function_region, found.bucket_region) == ("eu-west-3", "eu-west-3")
    assert [info.key for info in store.list()] == [KEY]
    assert store.get(KEY) == b"{}"


@pytest.mark.parametrize("code", ["STORE_DENIED", "CHECKSUM_UNSUPPORTED"])
def test_a_refusal_to_write_is_the_fact(tmp_path: Path, code: str) -> None:
    put_small(DirectoryStore(tmp_path), KEY, b"{}")

    found = use(Vault(Refusing(tmp_path, code)), newest())

    assert found.written is not None
    assert (found.written.code, found.written.hint) == (code, "Allow it.")


def test_without_a_backup_nothing_is_stored_unless_a_probe_is_asked_for(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)

    assert use(Vault(store), None).tested is None
    assert not list(store.list())

    assert use(Vault(store), None, probe=True).tested is WriteTest.PACK
    (pack,) = store.list()
    assert writer_of(pack.key) is not None, "rotation sweeps it as a pack without a backup"


def test_a_vault_that_cannot_be_listed_is_not_tried_further(tmp_path: Path) -> None:
    def unreachable() -> str | None:
        raise StoreError("The bucket does not exist.", code="BUCKET_MISSING")

    reach, use = look(Vault(DirectoryStore(tmp_path)), newest(), probe=True, region=unreachable)

    assert reach.trouble is not None
    assert reach.trouble.code == "BUCKET_MISSING"
    assert use == (VaultUse, Unread("The backup function cannot list the vault."))
    assert not list(DirectoryStore(tmp_path).list())


def test_with_locks_the_probe_is_locked_for_a_day(tmp_path: Path) -> None:
    store = LockingDirectory(tmp_path)
    vault = Vault(store, VaultLocks(store, LockMode.GOVERNANCE, 400))

    found = use(vault, None, probe=True)

    assert (found.lock_mode, found.locks, found.written) == ("governance", None, None)
    (state,) = store.locks.values()
    assert state.lock is not None
    assert state.lock.until == NOW + timedelta(days=1)


def test_a_bucket_without_object_lock_is_seen(tmp_path: Path) -> None:
    store = LockingDirectory(tmp_path)
    store.has_locks = False

    found = use(Vault(store, VaultLocks(store, LockMode.GOVERNANCE, 400)), None)

    assert found.locks is not None
    assert found.locks.code == "LOCKS_OFF"
