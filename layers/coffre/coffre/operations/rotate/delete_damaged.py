"""Make way in a copy for what is damaged there: only the rotation may delete in a copy, and a copier replaces nothing.

What a look found damaged is deleted if the vault still has it whole, and the copy of that backup counts as failed: the
next run of the copier sends it again. Without the vault nothing is deleted: damaged bytes are better than none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus
from coffre.model.errors import (
    BackupStateError,
    CoffreError,
    DeadlineError,
    IntegrityError,
    LockLostError,
    ObjectMissingError,
)
from coffre.model.manifest import Manifest
from coffre.model.rotation import Problem
from coffre.operations.rotate.rotate import RotateJob
from coffre.operations.rotate.rotation_lock import Turn
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.vault.damage import read_findings
from coffre.vault.entry_files import lists_apart
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class MakingWay:
    """What is needed: the rotation of the copy, and the vault (`source`) that the copy was made of."""

    job: RotateJob
    source: Vault
    destination: str
    actor: Actor
    turn: Turn

    def run(self, problems: list[Problem]) -> tuple[str, ...]:
        """Return the backups that are to be copied again."""
        done = []
        known = [copy for copy in self.job.catalog.copies.of(self.destination) if copy.damaged is not None]
        for copy in known:
            if copy.status is CopyStatus.FAILED:
                self._keep_what_is_left(copy)
        damaged = [copy for copy in known if copy.status is CopyStatus.COMPLETED]
        for copy in damaged:
            self.turn.check()
            try:
                if self._make_way(copy):
                    done.append(copy.backup_id)
            except (DeadlineError, LockLostError):
                raise
            except CoffreError as error:
                text = (
                    f'The copy of {copy.backup_id} in "{self.destination}" is damaged, and the vault cannot replace '
                    f"it: {error.message} Nothing of it was deleted."
                )
                problems.append(Problem(code=error.code, target=copy.target, text=text))
        return tuple(done)

    def _keep_what_is_left(self, copy: Copy) -> None:
        """Count a copy again that made way, and that the vault can replace no more: it has what was not damaged.

        Without its manifest it is none, and what is left of it is swept.
        """
        if self._is_in_vault(copy.backup_id):
            return
        try:
            self.job.vault.store.head(manifest_key(copy.target, copy.backup_id))
        except ObjectMissingError:
            return
        left = {"status": CopyStatus.COMPLETED, "completed_at": self.job.now(), "error": None}
        self.job.catalog.copies.change(copy, copy.model_copy(update=left))

    def _is_in_vault(self, backup_id: str) -> bool:
        try:
            return self.job.catalog.get_backup(backup_id).status is Status.COMPLETED
        except BackupStateError:
            return False

    def _make_way(self, copy: Copy) -> bool:
        backup = self.job.catalog.get_backup(copy.backup_id)
        if backup.status is not Status.COMPLETED:
            raise BackupStateError(f"It is {backup.status} there.")
        manifest = manifest_of(self.source, backup)
        doomed = [*self._damaged_packs(copy, backup, manifest), *self._damaged_records(backup, manifest)]
        again = {
            "status": CopyStatus.FAILED,
            "started_at": self.job.now(),  # its packs wait for a day, as those of a copier that has just failed
            "completed_at": None,
            "error": f"damaged, to be copied again: {copy.damaged}",
        }
        detail = f"in the copy {self.destination}: {len(doomed)} damaged objects, to be copied again"
        with self.job.catalog.audit.recorded(
            self.job.now(), self.actor, "copy.made_way", copy.target, copy.backup_id, detail
        ):
            if not self.job.catalog.copies.change(copy, copy.model_copy(update=again)):
                return False
            for key in doomed:
                self.job.vault.store.delete(key)
        return True

    def _damaged_packs(self, copy: Copy, backup: Backup, manifest: Manifest) -> Iterator[str]:
        """Yield damaged packs of the copy.

        Raises
        ------
        IntegrityError
            `PACK_MISSING`: the vault has not all of them. `PACK_DAMAGED`: verification has found one damaged there too.
        """
        wanted = [pack for pack in manifest.packs if pack.key in copy.damaged_packs]
        lengths = self.source.pack_lengths(wanted)
        findings = read_findings(self.source, backup.target, backup.id).values()
        known = {pack for report in findings for pack in report.packs}
        for pack in wanted:
            if lengths.get(pack.key) != pack.length:
                raise IntegrityError(f"The vault does not have the pack {pack.key} either.", code="PACK_MISSING")
            if pack.key in known:
                raise IntegrityError(f"The pack {pack.key} is damaged in the vault too.", code="PACK_DAMAGED")
        yield from (pack.key for pack in wanted)

    def _damaged_records(self, backup: Backup, manifest: Manifest) -> Iterator[str]:
        """Yield the manifest and the lists of entries of the copy that are not those that were recorded."""
        expected = {file.key: file.sha256 for file in lists_apart(manifest.entries)}
        expected[backup.manifest_key or ""] = backup.manifest_sha256 or ""
        for key, sha256 in expected.items():
            try:
                body = self.job.vault.store.get(key)
            except ObjectMissingError:
                continue
            if hashlib.sha256(body).hexdigest() != sha256:
                yield key
