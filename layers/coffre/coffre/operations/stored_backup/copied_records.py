"""What is known about backups besides their manifests, brought to a copy (docs/adr/0037).

Marks and reports are made after a backup was copied: it is pinned, verified, found damaged. With them, with the
versions of the configuration and with the anchors of the audit, a catalog can be rebuilt from the copy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from coffre.model.errors import ObjectMissingError, StoreError
from coffre.stores.store import ObjectInfo, Store, put_new, put_small
from coffre.vault.layout import (
    ANCHORS,
    BACKUPS,
    CONFIGURATIONS,
    MANIFEST,
    backup_prefix,
    is_anchor,
    is_configuration,
    record_of,
)
from coffre.vault.vault import Vault

_LIMIT_BYTES: Final = 64 * 1024 * 1024
_PIN: Final = "marks/pin.json"
_REPLACED: Final = (_PIN, "reports/")  # All other records are written once.


def copy_records(source: Vault, destination: Vault, target: str, check: Callable[[], None] = lambda: None) -> int:
    """Bring the records of a target's backups to a copy, as far as the copy has the backups. It can be repeated.

    An unchanged target costs the listings of its records: one request for a thousand of them, at both sides.

    Parameters
    ----------
    check
        Called before each object is sent; what it raises stops.

    Returns
    -------
    int
        How many objects were sent.

    Raises
    ------
    StoreError, StoreTransientError
        A store refuses, or does not answer.
    """
    sent = 0
    for key, is_new in _due(source.store, destination.store, target):
        check()
        try:
            body = source.store.get(key, limit_bytes=_LIMIT_BYTES)
        except ObjectMissingError:
            continue  # its backup was deleted meanwhile
        sent += _put(destination.store, key, body, is_new=is_new)
    return sent


def copy_records_of(source: Vault, destination: Vault, target: str, backup_id: str) -> None:
    """Bring the records of one backup to a copy, which need not be complete there; raises what `copy_records` raises.

    Before the manifest: a copy that appears has what is known about it, a pin above all.
    """
    folder = f"{backup_prefix(target, backup_id)}/"
    there = {info.key: info.size for info in destination.store.list(folder)}
    for info in source.store.list(folder):
        record = record_of(info.key)
        if record is not None and _is_due(record.name, info, there, destination.store, source.store):
            try:
                body = source.store.get(info.key, limit_bytes=_LIMIT_BYTES)
            except ObjectMissingError:
                continue
            _put(destination.store, info.key, body, is_new=info.key not in there)


def _due(source: Store, destination: Store, target: str) -> Iterator[tuple[str, bool]]:
    """Yield the keys that have to be sent, and whether the copy has no such object."""
    folder = f"{BACKUPS}{target}/"
    there = {info.key: info.size for info in destination.list(folder)}
    copied = {record.backup_id for key in there if (record := record_of(key)) is not None and record.name == MANIFEST}
    for info in source.list(folder):
        record = record_of(info.key)
        if record is not None and record.backup_id in copied and _is_due(record.name, info, there, destination, source):
            yield info.key, info.key not in there
    for prefix, is_own in ((CONFIGURATIONS, is_configuration), (ANCHORS, is_anchor)):
        known = {info.key for info in destination.list(prefix)}
        yield from ((info.key, True) for info in source.list(prefix) if is_own(info.key) and info.key not in known)


def _is_due(name: str, info: ObjectInfo, there: dict[str, int], destination: Store, source: Store) -> bool:
    if not name.startswith(("marks/", "reports/")):
        return False
    if info.key not in there:
        return True
    if not name.startswith(_REPLACED):
        return False
    if there[info.key] != info.size:
        return True
    # A pin that was set again has the size of the one before.
    return name == _PIN and destination.get(info.key) != source.get(info.key)


def _put(store: Store, key: str, body: bytes, *, is_new: bool) -> int:
    if not is_new:
        return _replace(store, key, body)
    try:
        put_new(store, key, body)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
        return 0  # another copier has sent it, in an earlier or a later version
    return 1


def _replace(store: Store, key: str, body: bytes) -> int:
    """Replace a record. Where nothing may be replaced (a receiving account) a removed pin keeps the backup pinned."""
    try:
        put_small(store, key, body)
    except StoreError as error:
        if error.code != "STORE_DENIED":
            raise
        return 0
    return 1
