"""`coffre restore ... --here`: in the command's own process, recorded and reported as by the function."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from botocore.exceptions import ClientError
from tests.integration.conftest import BUCKET, PASSWORD, Coffre, client, run_sql
from tests.integration.contents import eventually
from tests.integration.expect import no_secret
from tests.integration.here_scene import Functions, heard_interrupts, here, interrupt_when, sessions, stack, waiting
from tests.integration.vault_copies import Command, copy_vault

from coffre.model.backup import Restore, Status
from coffre.model.copies import Copy, CopyStatus
from coffre.postgres.destination.restore_lock import _GUARD_KEY
from coffre_cli import client_programs
from coffre_local.sample import fingerprint

__all__ = ["heard_interrupts", "here", "stack"]


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PostgreSQL's client programs."""
    monkeypatch.setattr(client_programs, "_places", lambda: iter(()))


def only_restore(stack: Coffre) -> Restore:
    [restore] = [one for one in stack.catalog.restores() if not one.dry_run]
    return restore


def kinds(stack: Coffre) -> list[str]:
    return [alert["MessageAttributes"]["kind"]["Value"] for alert in stack.alerts()]


@pytest.mark.usefixtures("no_programs")
def test_a_restore_here_is_recorded_as_one_of_the_function(
    stack: Coffre, shop: str, new_database: str, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no client programs, and a vault without packs: it is read from a copy, and the address stays here."""
    place = tmp_path / "disk"
    place.mkdir()
    stack.configure(shop, copies=[{"name": "disk", "store": {"type": "directory", "path": str(place)}}])
    done = stack.backup()
    copy_vault(stack, place)
    facts = {"destination": "disk", "backup_id": done["id"], "target": "shop"}
    stack.catalog.copies.keep(Copy(**facts, status=CopyStatus.COMPLETED, started_at=datetime.now(UTC)))
    for key in stack.objects("v1/packs/"):
        client("s3").delete_object(Bucket=BUCKET, Key=key)
    stack.alerts()
    monkeypatch.setenv("NEW", new_database)

    said = here("restore", "database", "latest", "--to", "env:NEW", "--here", "--from", "disk")

    assert said.status == 0, said.err
    assert fingerprint(new_database) == fingerprint(shop)
    assert '"level"' not in said.out + said.err, "the function's log is not the command's output"
    record = only_restore(stack)
    assert (record.status, record.rows) == (Status.COMPLETED, 1050)
    assert kinds(stack) == ["RESTORE_STARTED", "RESTORE_COMPLETED"]
    assert [event.action for event in stack.catalog.audit.events()][:2] == ["restore.ended", "restore.started"]
    names = [one["Name"] for one in client("secretsmanager").list_secrets()["SecretList"]]
    assert not any(name.startswith("coffre/destination/") for name in names)
    no_secret(stack)


def test_replacing_here_is_confirmed_and_backs_up_what_it_overwrites(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    stack.configure(shop)
    first = stack.backup()["id"]
    before = fingerprint(shop)
    run_sql(shop, "DELETE FROM orders WHERE id > 10")

    said = here(
        *("restore", "tables", first, "orders", "--replace", "--yes"), "--here", "--postgres-home", postgresql_home
    )

    assert said.status == 0, said.err
    assert fingerprint(shop).items() >= before.items()
    safety = next(one for one in stack.backups() if one.is_safety)
    assert safety.status is Status.COMPLETED
    assert f"SAFETY backup {safety.id}" in said.out
    actions = {event.action for event in stack.catalog.audit.events()}
    assert {"restore.planned", "restore.confirmed", "restore.ended"} <= actions


@pytest.mark.usefixtures("no_programs")
def test_without_programs_or_rights_the_error_says_what_is_missing_and_nothing_is_changed(
    stack: Coffre, shop: str, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.configure(shop)
    stack.backup()
    run_sql(shop, "DELETE FROM orders WHERE id > 10")
    before = fingerprint(shop)

    said = here("restore", "tables", "latest", "orders", "--replace", "--yes", "--here")

    assert said.status == 1
    assert "[TOOLS_MISSING]" in said.err
    assert "postgresql-client-18" in said.err

    def denied(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetFunctionConfiguration")

    monkeypatch.setattr(Functions, "get_function_configuration", denied)
    said = here("restore", "tables", "latest", "orders", "--here", "--json")

    assert said.status == 1
    assert "[FUNCTION_UNREADABLE]" in said.err
    assert "lambda:GetFunctionConfiguration" in said.err
    assert [one for one in stack.catalog.restores() if not one.dry_run] == []
    assert fingerprint(shop) == before


@pytest.mark.usefixtures("heard_interrupts")
def test_ctrl_c_settles_a_restore_and_leaves_no_session(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    """Given a table that is locked: the restore into it waits, and Ctrl-C comes."""
    stack.configure(shop)
    stack.backup()
    run_sql(shop, "DELETE FROM orders WHERE id > 10")
    stack.alerts()
    options = ("--replace", "--no-safety", "--yes", "--here", "--postgres-home", postgresql_home)
    with psycopg2.connect(shop) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN SHARE MODE")
        threading.Thread(target=interrupt_when, args=(lambda: waiting(shop) > 0,), daemon=True).start()
        said = here("restore", "tables", "latest", "orders", *options)
        alone = eventually(lambda: sessions(shop) == 1)
        blocker.rollback()

    assert said.status == 130
    assert "The restore was interrupted on the machine where it ran. [INTERRUPTED]" in said.err
    record = only_restore(stack)
    assert (record.status, record.failure and record.failure.code) == (Status.FAILED, "INTERRUPTED")
    assert alone, "only the one that holds the lock stays"
    assert "RESTORE_FAILED" in kinds(stack)
    assert run_sql(shop, "SELECT count(*) FROM orders") == [(10,)]


def test_a_second_restore_into_the_same_database_is_refused(
    stack: Coffre, shop: str, new_database: str, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given another restore that is loading into the destination."""
    stack.configure(shop)
    stack.backup()
    run_sql(shop, f"CREATE DATABASE {urlsplit(new_database).path[1:]}")
    monkeypatch.setenv("BUSY", new_database)
    with psycopg2.connect(new_database) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (_GUARD_KEY,))
        said = here("restore", "database", "latest", "--to", "env:BUSY", "--here")

    assert said.status == 1
    assert "[DESTINATION_BUSY]" in said.err
    assert PASSWORD not in said.out + said.err
    assert only_restore(stack).status is Status.FAILED
