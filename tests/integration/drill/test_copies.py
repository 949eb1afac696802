"""Drills of copies: what is restored is the copy's, and what it proves is about the copy alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Coffre, Context
from tests.integration.drills import report_of, share_server
from tests.integration.vault_copies import copy_vault

from coffre.model.backup import Backup
from coffre.model.copies import Copy, CopyStatus
from coffre.model.errors import BackupStateError, CopyUnknownError, EventError
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch.server import ScratchServer, scratch_server

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(postgresql_home: Path) -> Iterator[ScratchServer]:
    with scratch_server(PostgresTools(postgresql_home)) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(server: ScratchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    share_server(monkeypatch, server)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of the copy."""
    return tmp_path / "copy"


@pytest.fixture
def backup(coffre: Coffre, shop: str, place: Path) -> Backup:
    """A backup of the shop, and a copy of it in a directory."""
    far = {"type": "gcs", "bucket": "acme", "secret": "coffre/copies/gcs"}
    near = {"type": "directory", "path": str(place)}
    copies = [{"name": "far", "store": far}, {"name": "nas", "store": near}]
    coffre.configure(shop, copies=copies, target={"drill": {"rto_minutes": 30}})
    found = coffre.catalog.get_backup(coffre.backup()["id"])
    copy_vault(coffre, place)
    note(coffre, found)
    return found


def note(coffre: Coffre, backup: Backup, status: CopyStatus = CopyStatus.COMPLETED) -> None:
    """Record what the copier records."""
    coffre.catalog.copies.keep(
        Copy(destination="nas", backup_id=backup.id, target="shop", status=status, started_at=NOW, completed_at=NOW)
    )


def drill(coffre: Coffre, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function with a field whose name Python keeps for itself."""
    return coffre.drill_function().handle({"target": "shop", **event}, Context(function_name="drill"))


def test_a_rehearsal_restores_from_the_copy_and_proves_that(coffre: Coffre, backup: Backup, place: Path) -> None:
    # Given that the vault has lost a pack, which the copy has
    for key in coffre.objects(f"v1/packs/{backup.id}"):
        coffre.put_object(key, b"lost")

    answer = coffre.drill(target="shop", rehearse=True)

    assert (answer["outcome"], answer["copy"]) == ("passed", "nas")
    assert answer["restore_seconds"] < answer["restore_limit_seconds"] == 1800
    assert report_of(coffre, backup).copy_name == "nas"
    record = coffre.catalog.copies.find("nas", backup.id)
    assert record is not None
    assert (record.level, record.damaged) == ("drill", None)
    assert record.verified_at == report_of(coffre, backup).completed_at
    # And the vault's backup is not verified by that
    assert coffre.catalog.get_backup(backup.id).verified_at is None
    assert coffre.catalog.latest.drills()["shop"].restore_seconds == answer["restore_seconds"]


def test_a_copy_that_is_damaged_is_reported_as_the_copys(coffre: Coffre, backup: Backup, place: Path) -> None:
    pack = next(one for one in (place / "v1" / "packs" / backup.id).rglob("*-*"))
    body = bytearray(pack.read_bytes())
    body[len(body) // 2] ^= 1
    pack.write_bytes(body)

    answer = drill(coffre, {"from": "nas"})

    assert (answer["outcome"], answer["copy"]) == ("failed", "nas")
    record = coffre.catalog.copies.find("nas", backup.id)
    assert record is not None
    assert record.damaged_packs == (str(pack.relative_to(place)),)
    assert coffre.catalog.get_backup(backup.id).damaged_at is None
    [alert] = coffre.troubles()
    assert alert["MessageAttributes"]["kind"]["Value"] == "DRILL_FAILED"
    assert "It was restored from the copy nas" in alert["Message"]
    # A damaged copy is not tried again: the vault is
    assert coffre.drill(target="shop", rehearse=True)["copy"] is None
    # And an inventory, which reads none of the other packs, does not call it healed
    assert coffre.verify("inventory", at="nas", share=0.0001)["status"] == 500
    record = coffre.catalog.copies.find("nas", backup.id)
    assert record is not None
    assert not record.is_good


def test_without_a_complete_copy_a_rehearsal_takes_the_vault_and_a_named_copy_is_an_error(
    coffre: Coffre, backup: Backup
) -> None:
    note(coffre, backup, CopyStatus.IN_PROGRESS)

    assert coffre.drill(target="shop", rehearse=True)["copy"] is None
    with pytest.raises(BackupStateError, match="has no complete copy") as missing:
        drill(coffre, {"from": "nas"})
    assert missing.value.code == "COPY_MISSING"
    with pytest.raises(BackupStateError, match="needs a secret"):
        drill(coffre, {"from": "far"})
    with pytest.raises(CopyUnknownError):
        drill(coffre, {"from": "nosuch"})
    with pytest.raises(EventError, match="exclude each other"):
        drill(coffre, {"from": "nas", "rehearse": True})


def test_what_a_rehearsal_elsewhere_took_is_noted_and_nothing_is_drilled(coffre: Coffre, backup: Backup) -> None:
    wanted = {"id": backup.id, "seconds": {"shop": 412.5, "nosuch": 1}}

    answer = coffre.drill(rehearsed=wanted)

    assert answer == {"noted": ["shop"], "unknown": ["nosuch"]}
    drills, rehearsals = coffre.catalog.latest.drills_and_rehearsals()
    assert (drills, rehearsals["shop"].seconds) == ({}, 412.5)
    [event] = [one for one in coffre.catalog.audit.events() if one.action == "recovery.rehearsed"]
    assert (event.target, event.subject, event.detail) == ("shop", backup.id, "in 6 min 52 s")
    for wrong in ({"target": "shop", "rehearsed": wanted}, {"rehearsed": {"id": backup.id, "seconds": {"shop": -1}}}):
        with pytest.raises(EventError):
            coffre.drill(**wrong)
