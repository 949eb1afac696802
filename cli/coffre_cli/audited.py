"""What a command does with the caller's own credentials is recorded first, where there is a stack to record it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coffre.model.errors import CatalogError
from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup


def recorded_reading(place: Place, backup: Backup, action: str, detail: str) -> AbstractContextManager[None]:
    """Record that a backup's contents are read, and let it happen; raises what `_recorded` raises."""
    return _recorded(place, (backup.target, backup.id), action, detail, "Nothing was read")


def recorded_change(place: Place, target: str, subject: str, action: str, detail: str) -> AbstractContextManager[None]:
    """Record that stored objects are changed, those of a backup or a journal; raises what `_recorded` raises."""
    return _recorded(place, (target, subject), action, detail, "Nothing was changed")


@contextmanager
def _recorded(place: Place, of: tuple[str, str], action: str, detail: str, nothing: str) -> Iterator[None]:
    """Record an action, and let it happen. A vault without a stack has no audit.

    Raises
    ------
    CatalogError
        The event could not be recorded, so nothing was done.
    """
    if isinstance(place, StandaloneVault):
        yield
        return
    audit, now = place.catalog.audit, datetime.now(UTC)
    try:
        audit.record(now, place.caller, action, *of, detail)
    except CatalogError as error:
        raise CatalogError(
            f"{nothing}: this could not be recorded in the audit ({error.code}).",
            code="AUDIT_NOT_RECORDED",
            detail=error.detail or error.message,
            hint="Your AWS credentials need dynamodb:GetItem, PutItem and UpdateItem on the table "
            f"{place.outputs['CatalogTable']} (docs/audit.md). Without a stack nothing is recorded: coffre --vault ...",
        ) from error
    try:
        yield
    except BaseException as error:
        audit.record_failure(now, place.caller, action, *of, error)
        raise
