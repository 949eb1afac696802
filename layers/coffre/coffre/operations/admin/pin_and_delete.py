"""An operator's decisions about one backup: pin, unpin, delete. Each leaves an audit event, and is not done without."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status
from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import BackupStateError
from coffre.operations.stored_backup.refuse_deletion import refuse_protected
from coffre.policy.recency import newest_first, recency
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class BackupAdmin:
    """Changes backups in the name of `actor`, `now`."""

    catalog: Catalog
    vault: Vault
    actor: Actor | str
    now: datetime

    def pin(self, backup_id: str) -> Backup:
        """Keep a backup regardless of its age. It can be repeated."""
        with self._recorded(backup_id, "backup.pinned"):
            backup = self.catalog.keeping.pin(backup_id, self.now)
            # The catalog decides; the mark in the vault serves to rebuild the catalog.
            self.vault.mark_pin(backup.target, backup.id, backup.pinned_at)
        return backup

    def unpin(self, backup_id: str) -> Backup:
        """Let a backup's tiers decide again how long it is kept. It can be repeated."""
        with self._recorded(backup_id, "backup.unpinned"):
            backup = self.catalog.keeping.unpin(backup_id)
            self.vault.mark_pin(backup.target, backup.id, None)
        return backup

    def delete(self, backup_id: str, *, force: bool = False) -> Backup:
        """Mark a backup as DELETED; the next sweep removes what only it needs.

        Parameters
        ----------
        force
            Delete it even if it is the only one or the newest verified one of its target.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, `BACKUP_STATE` (it is not COMPLETED), `BACKUP_PINNED`, `BACKUP_HELD`, `BACKUP_LOCKED`,
            `BACKUP_NEEDED` (only without `force`), or `BACKUP_CHANGED`.
        """
        backup = self.refuse_deletion(backup_id, force=force)
        with self._recorded(backup.id, "backup.deleted", "forced" if force else None):
            return self.catalog.keeping.delete(backup, f"deleted by {self._name}", self.now)

    def deletion_plan(self, backup: Backup, scope: BaseModel) -> Plan:
        """Return what a person has to confirm before a backup is deleted: what is lost, and what remains.

        Parameters
        ----------
        scope
            How it is deleted, as the event says.
        """
        rest = self._healthy_others(backup)
        newest = newest_first(rest, self.now)
        facts = Facts(
            exact={"the tiers of the backup": " ".join(backup.tiers)},
            least={"healthy backups that remain": len(rest)},
        )
        lost = Overwritten(
            backup=backup.id,
            size_bytes=backup.stored_bytes,
            tables=backup.tables,
            remaining_backups=len(rest),
            newest_remaining=newest[0].created_at if newest else None,
        )
        seen = Seen(destination="the vault", name=backup.target, facts=facts, overwrites=lost)
        request = Request.of(Act.DELETION, backup.target, backup.id, backup.manifest_sha256, scope)
        return Plan(request=request, seen=seen)

    def refuse_deletion(self, backup_id: str, *, force: bool) -> Backup:
        """Return the backup if it may be deleted; the errors are those of `delete`."""
        backup = self.catalog.get_backup(backup_id)
        if backup.status is not Status.COMPLETED:
            raise BackupStateError(
                f'The backup {backup.id} of "{backup.target}" is {backup.status}: only a COMPLETED one can be deleted.',
                hint="What a failed run left in the vault is removed by rotation, a day later.",
            )
        if backup.pinned_at is not None:
            raise BackupStateError(
                f'The backup {backup.id} of "{backup.target}" is pinned.',
                code="BACKUP_PINNED",
                hint=f"Unpin it first: coffre unpin {backup.id}",
            )
        refuse_protected(backup, self.now)
        need = None if force else self._need_of(backup)
        if need is not None:
            raise BackupStateError(
                f'The backup {backup.id} is {need} of "{backup.target}".',
                code="BACKUP_NEEDED",
                hint="Without it, there may be nothing to restore. If you are sure: --force",
            )
        return backup

    def _need_of(self, backup: Backup) -> str | None:
        """Return why a backup is needed. Reads the table itself: an index may still list deleted backups."""
        copies = self._healthy_others(backup)
        if not copies:
            return "the only backup" if backup.is_healthy else "all that is left, though damaged,"
        if backup.verified_at is not None and not any(
            one.verified_at and recency(one, self.now) > recency(backup, self.now) for one in copies
        ):
            return "the newest verified backup"
        return None

    def _healthy_others(self, backup: Backup) -> list[Backup]:
        """Return what is left without a backup. What a restore replaced takes no regular one's place."""
        return [
            one
            for one in self.catalog.backups()
            if one.target == backup.target
            and one.is_healthy
            and one.id != backup.id
            and (backup.is_safety or not one.is_safety)
        ]

    @property
    def _name(self) -> str:
        return self.actor if isinstance(self.actor, str) else self.actor.name

    def _recorded(self, backup_id: str, action: str, detail: str | None = None) -> AbstractContextManager[None]:
        backup, audit = self.catalog.get_backup(backup_id), self.catalog.audit
        if backup.status in (Status.FAILED, Status.DELETED):  # It stays so: the catalog refuses the act.
            why = f"the backup is {backup.status}"
            audit.record(self.now, self.actor, action, backup.target, backup.id, why, result="refused")
            return nullcontext()
        return audit.recorded(self.now, self.actor, action, backup.target, backup.id, detail)
