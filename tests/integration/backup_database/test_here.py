"""`coffre backup database --here`: in the command's own process, with a stack and without one."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from tests.integration.conftest import PASSWORD, Coffre
from tests.integration.contents import eventually
from tests.integration.expect import no_secret
from tests.integration.here_scene import heard_interrupts, here, interrupt_when, is_free, sessions, stack, waiting
from tests.integration.vault_copies import Command, files_of, without_aws

from coffre.model.backup import Status
from coffre.model.errors import SettingsError
from coffre.vault.codec import public_key
from coffre_cli import client_programs
from coffre_local.sample import fingerprint

__all__ = ["heard_interrupts", "here", "stack"]


# --- with a stack ---


def test_a_backup_here_is_recorded_as_one_of_the_function(
    stack: Coffre, shop: str, new_database: str, here: Command, postgresql_home: Path
) -> None:
    stack.configure(shop)

    said = here("backup", "database", "shop", "--here", "--postgres-home", postgresql_home)

    assert said.status == 0, said.err
    assert "Backed up shop: 2 tables, 1,050 rows" in said.out
    assert '"level"' not in said.out, "the function's log is not the command's output"
    [record] = stack.backups()
    assert (record.status, record.tiers) == (Status.COMPLETED, ("MANUAL",))
    events = [event.action for event in stack.catalog.audit.events()]
    assert "backup.taken" in events
    assert is_free(stack)
    stack.restore(record.id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)
    no_secret(stack)


def test_a_failure_here_is_recorded_and_alerted_as_one_of_the_function(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    stack.configure(shop.rsplit("/", 1)[0] + "/does_not_exist")

    said = here("backup", "database", "shop", "--here", "--postgres-home", postgresql_home)

    assert said.status == 1
    [record] = stack.backups()
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert f"[{record.failure.code}]" in said.err
    assert [alert["MessageAttributes"]["kind"]["Value"] for alert in stack.troubles()] == ["BACKUP_FAILED"]
    assert PASSWORD not in said.out + said.err


@pytest.mark.usefixtures("heard_interrupts")
def test_ctrl_c_settles_the_record_and_leaves_no_session(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    """Given a table that is locked: the run waits for it, and Ctrl-C comes."""
    stack.configure(shop)
    with psycopg2.connect(shop) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        threading.Thread(target=interrupt_when, args=(lambda: waiting(shop) > 0,), daemon=True).start()
        said = here("backup", "database", "shop", "--here", "--postgres-home", postgresql_home)
        alone = eventually(lambda: sessions(shop) == 1)
        blocker.rollback()

    assert said.status == 130
    assert "Stopping: sessions at the server are ended" in said.err
    assert "The backup was interrupted on the machine where it ran. [INTERRUPTED]" in said.err
    [record] = stack.backups()
    assert (record.status, record.failure and record.failure.code) == (Status.FAILED, "INTERRUPTED")
    assert alone, "only the one that holds the lock stays"
    assert is_free(stack)
    assert [alert["MessageAttributes"]["kind"]["Value"] for alert in stack.troubles()] == ["BACKUP_FAILED"]


def test_a_second_run_meanwhile_is_skipped_and_changes_nothing(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    """Given a run that waits for a table, and so has the target's lock."""
    stack.configure(shop, target={"limits": {"lock_timeout_seconds": 120}})
    with (
        ThreadPoolExecutor(1) as pool,
        closing(psycopg2.connect(shop)) as blocker,
        blocker.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        first = pool.submit(stack.backup)
        while not waiting(shop):
            assert not first.done()
        said = here("backup", "database", "shop", "--here", "--postgres-home", postgresql_home)
        blocker.rollback()

    done = stack.catalog.get_backup(first.result()["id"])
    assert said.status == 3
    assert f"Skipped: backup {done.id} of shop is already running, since" in said.err
    assert (done.status, stack.backups()) == (Status.COMPLETED, [done])
    assert is_free(stack)
    assert stack.troubles() == []


# --- without a stack ---


def test_without_a_stack_the_vault_is_the_record(
    coffre: Coffre,
    shop: str,
    new_database: str,
    here: Command,
    postgresql_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given no AWS at all, and a directory for the vault: two backups, the second of which stores little."""
    without_aws(monkeypatch)
    vault, key = tmp_path / "vault", tmp_path / "key.txt"
    vault.mkdir()
    key.write_text(coffre.identity)
    monkeypatch.setenv("DATABASE_URL", shop)
    monkeypatch.setenv("NEW", new_database)
    options = ("--here", "--url-env", "DATABASE_URL", "--postgres-home", postgresql_home)
    alone = ("--vault", vault)

    first = here(*alone, "backup", "database", "shop", *options, "--recipient", public_key(coffre.identity))
    stored = sum(map(len, files_of(vault).values()))
    second = here(
        *alone, "backup", "database", "shop", *options, "--recipient", public_key(coffre.identity), "--keep", "7d"
    )
    listed = here(*alone, "list", "shop", "--json")
    restored = here(*alone, "--identity", key, "restore", "database", "latest", "--to", "env:NEW")

    assert (first.status, second.status, restored.status) == (0, 0, 0), first.err + second.err + restored.err
    assert "has no backup yet: this is its first" in first.err
    assert "Backed up shop: 2 tables, 1,050 rows" in second.out
    assert sum(map(len, files_of(vault).values())) - stored < stored / 2
    assert listed.out.count('"COMPLETED"') == 2
    assert fingerprint(new_database) == fingerprint(shop)
    assert not any(PASSWORD.encode() in body for body in files_of(vault).values())


def test_without_a_stack_the_configuration_comes_from_a_file(
    coffre: Coffre, shop: str, here: Command, postgresql_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_aws(monkeypatch)
    vault, document = tmp_path / "vault", tmp_path / "coffre.json"
    vault.mkdir()
    tables = '"tables": {"exclude": ["public.orders"]}'
    document.write_text(f'{{"encryption": "none", "targets": [{{"name": "shop", "secret": "unused", {tables}}}]}}')
    monkeypatch.setenv("DATABASE_URL", shop)

    said = here(
        *("--vault", vault, "backup", "database", "shop", "--here", "--url-env", "DATABASE_URL"),
        *("--configuration", document, "--postgres-home", postgresql_home, "--json"),
    )

    assert said.status in (0, 4), said.err
    answer = json.loads(said.out)
    assert (answer["status"], answer["tables"], answer["encryption"]) == ("COMPLETED", 1, "none")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipient", "age1x"), "Name"),
        (("--url-env", "UNSET", "--recipient", "RECIPIENT"), "The variable UNSET is not set, or is empty."),
        (("--url-env", "DATABASE_URL"), "say who can read the backup"),
        (("--url-env", "DATABASE_URL", "--configuration", "nowhere.json"), "cannot be read"),
        (
            ("--url-env", "DATABASE_URL", "--recipient", "RECIPIENT", "--postgres-home", "nowhere"),
            "There is no pg_dump",
        ),
    ],
    ids=["no url", "unset", "no recipient", "no document", "no programs"],
)
def test_what_is_missing_is_named_and_nothing_is_stored(
    coffre: Coffre,
    shop: str,
    here: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    monkeypatch.setenv("DATABASE_URL", shop)
    given = [public_key(coffre.identity) if word == "RECIPIENT" else word for word in arguments]

    answer = here("--vault", vault, "backup", "database", "shop", "--here", *given)

    assert answer.status in (1, 2)
    assert said.lower() in " ".join(answer.err.split()).lower()
    assert files_of(vault) == {}


# --- the client programs ---


@pytest.mark.parametrize(
    ("version", "code"), [("pg_dump (PostgreSQL) 16.4", "TOOLS_TOO_OLD"), ("something else", "TOOLS_BROKEN")]
)
def test_programs_that_cannot_be_used_are_refused(tmp_path: Path, version: str, code: str) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)

    with pytest.raises(SettingsError) as raised:
        client_programs.find_tools(tmp_path)

    assert raised.value.code == code


def test_the_programs_on_the_path_are_found(monkeypatch: pytest.MonkeyPatch, postgresql_home: Path) -> None:
    monkeypatch.setenv("PATH", str(postgresql_home / "bin"))
    assert client_programs.find_tools(None).version() >= (17, 0)


def test_without_programs_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_programs, "_places", lambda: iter(()))
    with pytest.raises(SettingsError) as raised:
        client_programs.find_tools(None)
    assert raised.value.code == "TOOLS_MISSING"
    assert "--postgres-home" in str(raised.value)
