"""Private keys that are known here and encrypt no new backups: may they be removed from their secrets?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coffre.model.errors import CoffreError
from coffre_cli.commands.keys.key_inventory import READERS, EncryptedBackup, short
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from coffre.model.copies import Copy


@dataclass(frozen=True)
class _OnlyCopied:
    """Backups that copies have and the vault has no more: how many need a key, by copy; how many cannot be read."""

    needing: dict[str, Counter[str]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


def notes_on_retired(place: Place, rows: Sequence[dict[str, Any]], backups: Sequence[EncryptedBackup]) -> Iterator[str]:
    """Yield what to do with each such key.

    Parameters
    ----------
    rows
        Every key, with what all targets have of it.
    backups
        Those of all targets in the vault. What is in copies alone is read only for keys that none of these need.
    """
    retired = [row for row in rows if row["private_key"] and not row["new_backups_of"]]
    idle = any(not row["backups"] for row in retired)
    unread = Counter({"the vault": sum(backup.recipients is None for backup in backups)})
    copied = _only_copied(place) if idle and isinstance(place, DeployedStack) else _OnlyCopied()
    for row in retired:
        key = short(row["recipient"])
        if row["backups"]:
            yield f"{key} encrypts no new backups; keep its private key as long as its backups exist."
        elif needing := copied.needing.get(row["recipient"]):
            yield f"{key} opens backups that the vault has no more ({_where(needing)}): keep its private key."
        elif missing := +(unread + copied.unread):
            yield f"Whether a backup needs {key} is not known: manifests cannot be read ({_where(missing)}). Keep it."
        elif row["since"] is None:
            yield f"{key} is not in use: deploy it as a recipient, or it is a key of something else."
        else:
            kept = "Keep its private key offline: an old copy of a backup may turn up. Then remove it from its secret."
            yield f"No backup needs {key} any more. {kept}"


def _where(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} in {place}" for place, count in sorted(counts.items()))


def _only_copied(stack: DeployedStack) -> _OnlyCopied:
    """Look at the backups that copies have and the vault has no more, each by its manifest in the copy."""
    from coffre.model.backup import Status
    from coffre.model.copies import CopyStatus

    found = _OnlyCopied()
    in_vault = {backup.id for backup in stack.catalog.backups(status=Status.COMPLETED)}
    for destination in stack.configuration.copies:
        copies = [
            copy
            for copy in stack.catalog.copies.of(destination.name)
            if copy.status is CopyStatus.COMPLETED and copy.backup_id not in in_vault
        ]
        for recipients in _read(stack, destination.name, copies):
            if recipients is None:
                found.unread[f"the copy {destination.name}"] += 1
            for key in recipients or ():
                found.needing.setdefault(key, Counter())[f"the copy {destination.name}"] += 1
    return found


def _read(stack: DeployedStack, name: str, copies: Sequence[Copy]) -> list[tuple[str, ...] | None]:
    """Return the recipients of each backup in a copy; None: its manifest cannot be read from here."""
    from coffre_cli.reading import open_copy

    if not copies:
        return []
    try:
        vault, _ = open_copy(stack, name)
    except CoffreError as error:
        remark(f"The copy {name} cannot be opened: {error.message}")
        return [None] * len(copies)

    def read(copy: Copy) -> tuple[str, ...] | None:
        try:
            found = vault.find_manifest(copy.target, copy.backup_id)
        except CoffreError:
            return None
        return found[0].recipients if found is not None else None

    with ThreadPoolExecutor(READERS, thread_name_prefix="manifest") as pool:
        return list(pool.map(read, copies))
