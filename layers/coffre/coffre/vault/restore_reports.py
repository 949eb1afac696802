"""Reports of restores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.stores.store import Store, put_small
from coffre.vault.layout import restore_report_key
from coffre.vault.manifests import MANIFEST_LIMIT_BYTES

if TYPE_CHECKING:
    from coffre.model.restore_report import RestoreReport


class RestoreReports:
    """The part of the vault that has the reports of restores."""

    store: Store

    def write_report(self, restore_id: str, text: str) -> str:
        """Store the report of a restore and return its key."""
        key = restore_report_key(restore_id)
        put_small(self.store, key, text.encode())
        return key

    def read_report(self, key: str) -> RestoreReport:
        """Return the report of a restore.

        Raises
        ------
        IntegrityError
            `REPORT_DAMAGED`
        """
        from coffre.model.restore_report import RestoreReport  # here, for few who open a vault read one

        try:
            return RestoreReport.model_validate_json(self.store.get(key, limit_bytes=MANIFEST_LIMIT_BYTES))
        except ValidationError as error:
            raise IntegrityError(
                f"The report {key} cannot be read.",
                code="REPORT_DAMAGED",
                hint="What the restore did is in its record: coffre list --restores",
            ) from error

    def find_report(self, restore_id: str) -> tuple[str, RestoreReport] | None:
        """Return the report of a restore with its key, if it was written: then the restore was done."""
        key = restore_report_key(restore_id)
        try:
            return key, self.read_report(key)
        except (ObjectMissingError, IntegrityError):
            return None
