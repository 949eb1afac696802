"""What every failure has to look like, asked of the state that it left: catalog, vault, alerts, logs."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from tests.integration.conftest import PASSWORD, TABLE, Coffre, Context, client, new_id

from coffre.model.backup import Backup, Restore, Status
from coffre.model.errors import CoffreError
from coffre.runtime.backup_database_function import BackupDatabaseFunction


def failed_backup(
    coffre: Coffre,
    code: str,
    *words: str,
    recorded: bool = True,
    function: BackupDatabaseFunction | None = None,
    context: Context | None = None,
    event: object = None,
) -> CoffreError:
    """Run a backup that has to fail with one clear error, tell it, and leave nothing half-published.

    Parameters
    ----------
    words
        What a person has to find in the error.
    recorded
        Whether the run came as far as a record in the catalog.
    event
        The whole event; the target `shop` when not given.
    """
    before, known = coffre.objects(), {backup.id for backup in coffre.backups()}
    coffre.alerts()
    with pytest.raises(CoffreError) as caught:
        (function or coffre.backup_function()).handle(
            {"target": "shop"} if event is None else event, context or Context()
        )
    error = caught.value
    _says(error, code, words)
    records = [backup for backup in coffre.backups() if backup.id not in known]
    assert len(records) == recorded
    for backup in records:
        _recorded(backup, error)
    _told(coffre, error, ids=[backup.id for backup in records])
    unchanged(before, coffre.objects())
    assert manifests(coffre) == [key for key in before if key.endswith("/manifest.json")]
    no_secret(coffre, error)
    assert lock_is_free(coffre)
    return error


def failed_restore(
    coffre: Coffre,
    code: str,
    *words: str,
    backup_id: str,
    destination: str,
    recorded: bool = True,
    context: Context | None = None,
    **event: Any,
) -> CoffreError:
    """Run a restore that has to fail with one clear error, tell it, and leave the vault as it is."""
    before, known = coffre.objects(), {restore.id for restore in coffre.catalog.restores()}
    coffre.alerts()
    with pytest.raises(CoffreError) as caught:
        coffre.restore(backup_id, destination, context, **event)
    error = caught.value
    _says(error, code, words)
    records = [restore for restore in coffre.catalog.restores() if restore.id not in known]
    assert len(records) == recorded
    for restore in records:
        _recorded(restore, error)
    _told(coffre, error, ids=[restore.id for restore in records])
    assert coffre.objects() == before
    no_secret(coffre, error)
    return error


def manifests(coffre: Coffre) -> list[str]:
    """The keys of all manifests in the vault: the backups that exist."""
    return [key for key in coffre.objects() if key.endswith("/manifest.json")]


def unchanged(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Nothing that was stored earlier is gone or changed."""
    assert {key: after.get(key) for key in before} == before


def lock_is_free(coffre: Coffre) -> bool:
    """Whether another run could begin now."""
    visitor = new_id()
    lock = coffre.catalog.locks.acquire("shop", visitor, datetime.now(UTC), stale_after=timedelta(days=1))
    if lock.acquired:
        coffre.catalog.locks.release("shop", visitor)
    return lock.acquired


def no_secret(coffre: Coffre, error: Exception | None = None) -> None:
    """No password and no private key in any text that a person or a log service gets to see."""
    catalog = json.dumps(client("dynamodb").scan(TableName=TABLE)["Items"])
    raised = "".join(traceback.format_exception(error)) if error else ""
    everything = "\n".join([raised, catalog, *coffre.log_lines, *coffre.alerts_read])
    for secret in (PASSWORD, quote(PASSWORD, safe=""), coffre.identity):
        assert secret not in everything


def _says(error: CoffreError, code: str, words: tuple[str, ...]) -> None:
    assert error.code == code, f"{error}"
    assert error.hint, "an error says what to do"
    for word in words:
        assert word in f"{error}"


def _recorded(record: Backup | Restore, error: CoffreError) -> None:
    assert record.status is Status.FAILED
    assert record.completed_at is not None
    assert record.failure is not None
    assert record.failure.code == error.code
    assert record.failure.message.startswith(error.message)
    assert record.failure.hint == error.hint


def _told(coffre: Coffre, error: CoffreError, ids: list[str]) -> None:
    (alert,) = coffre.troubles()
    assert error.code in alert["Subject"]
    assert error.message in alert["Message"]
    assert str(error.hint) in alert["Message"]
    assert all(id_ in alert["Message"] for id_ in ids)
    assert any(error.code in line for line in coffre.log_lines)
