"""What a backup function can do with the vault: tried with its own role, as a backup does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Unread
from coffre.policy.checks.vault_facts import VaultReach, VaultUse, WriteTest
from coffre.stores.body import sha256_of
from coffre.stores.store import Store
from coffre.vault.layout import BACKUPS, pack_prefix
from coffre.vault.vault import Vault

# The lock that a test asks for. Of the manifest that is sent again nothing is stored; the probe is kept so long.
_LOCK: Final = timedelta(days=1)


def trouble(error: CoffreError) -> Trouble:
    """Return an error as a fact."""
    return Trouble(error.code, " ".join(filter(None, (error.message, error.detail))), error.hint)


def attempt(act: Callable[[], object]) -> Trouble | None:
    """Do something, and return what it raised."""
    try:
        act()
    except CoffreError as error:
        return trouble(error)
    return None


def use_vault(
    vault: Vault,
    newest: Backup | None,
    now: datetime,
    *,
    bucket: str,
    function_region: str | None,
    bucket_region: Callable[[], str | None],
    probe: bool = False,
) -> tuple[VaultReach, VaultUse | tuple[type[VaultUse], Unread]]:
    """List the vault, and find out whether the function may store a backup in it.

    The newest manifest is sent once more, with the demand that no such object exists: a store that takes the writer for
    allowed refuses it for that reason alone, and one that does not know the demand stores the same bytes again.

    Parameters
    ----------
    newest
        The newest complete backup of any target; None: only a probe can show whether writing works.
    bucket_region
        Asks the store where the bucket is.
    probe
        Store a pack of a few bytes when nothing else can be sent. Rotation sweeps it after 30 days.
    """
    region: str | None = None

    def look() -> None:
        nonlocal region
        next(vault.store.list(BACKUPS), None)
        region = bucket_region()

    if (unlisted := attempt(look)) is not None:
        return VaultReach(bucket, unlisted), (VaultUse, Unread("The backup function cannot list the vault."))
    locks = None if vault.locks is None else attempt(vault.locks.store.require_locking)
    mode = "off" if vault.locks is None else vault.locks.mode.value
    key = newest.manifest_key if newest is not None else None
    tested, written, keeps = try_writing(vault, key, now, probe=probe)
    return VaultReach(bucket), VaultUse(bucket, function_region, region, tested, written, keeps, mode, locks)


def try_writing(
    vault: Vault, manifest: str | None, now: datetime, *, probe: bool
) -> tuple[WriteTest | None, Trouble | None, bool | None]:
    """Find out whether this process may store a backup in a vault or a copy; see `use_vault`.

    Parameters
    ----------
    manifest
        The key of a manifest that exists there.

    Returns
    -------
    tuple
        How it was tried (None: it could not be), what was wrong, and whether the store keeps checksums (None: unknown).
    """
    store = vault.store if vault.locks is None else vault.locks.store.with_lock(vault.locks.lock(now + _LOCK))
    if manifest is not None:
        return WriteTest.MANIFEST, *_send_again(vault.store, store, manifest)
    if not probe:
        return None, None, None
    key, body = f"{pack_prefix(str(ULID.from_datetime(now)), 0)}-00000000-0000", b"coffre doctor --probe"
    written = attempt(lambda: store.put(key, body, sha256=sha256_of(body), if_absent=True))
    return (
        WriteTest.PACK,
        written,
        None,
    )  # packs are closed to the function: it cannot look whether the checksum is kept


def _send_again(reading: Store, writing: Store, key: str) -> tuple[Trouble | None, bool | None]:
    try:
        body, keeps = reading.get(key), reading.head(key).sha256 is not None
        writing.put(key, body, sha256=sha256_of(body), if_absent=True)
    except CoffreError as error:
        if error.code != "OBJECT_EXISTS":
            return trouble(error), None
    return None, keeps
