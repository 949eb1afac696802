"""Fresh, for copies of the vault: by the catalog's records, and by a look at the newest manifest in each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.copies import Copy, Destination
from coffre.model.errors import CoffreError, ObjectMissingError
from coffre.model.freshness import Check
from coffre.policy.copy_health import check_copy
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault


@dataclass
class CopyCheck:
    """One copy of the vault, which is opened when it is asked for the first time.

    A copy that does not answer fails the check of each of its targets, after one attempt for all of them.
    """

    catalog: Catalog
    destination: Destination
    open_copy: Callable[[Destination], Vault]
    now: datetime
    _silent: tuple[str, str] | None = field(default=None, init=False)

    def check(self, target: str, backups: Iterable[Backup]) -> Check:
        """Check one target; `backups` are its records, of any status."""
        check = check_copy(self.destination, target, list(backups), self._copies, self.now)
        if check.is_ok and check.last_backup is not None:
            wrong = self._look(target, check.last_backup)
            if wrong is not None:
                return check.model_copy(update={"status": "failed", "code": wrong[0], "text": wrong[1]})
        return check

    @cached_property
    def _copies(self) -> dict[str, Copy]:
        return {copy.backup_id: copy for copy in self.catalog.copies.of(self.destination.name)}

    @cached_property
    def _vault(self) -> Vault:
        return self.open_copy(self.destination)

    def _look(self, target: str, backup_id: str) -> tuple[str, str] | None:
        """Return what is wrong with the manifest that the copy should have, as code and text; None: nothing."""
        if self._silent is not None:
            return self._silent
        key, place = manifest_key(target, backup_id), f'in the copy "{self.destination.name}"'
        try:
            store = self._vault.store
            found = store.head(key).sha256 or hashlib.sha256(store.get(key)).hexdigest()
        except ObjectMissingError:
            return "MANIFEST_MISSING", f"The manifest of backup {backup_id} is not {place}."
        except CoffreError as error:
            self._silent = error.code, f'The copy "{self.destination.name}" does not answer: {error.message}'
            return self._silent
        recorded = self._copies[backup_id].manifest_sha256
        if recorded is not None and found != recorded:
            return "MANIFEST_SWAPPED", f"The manifest of backup {backup_id} {place} is not the one that was recorded."
        return None
