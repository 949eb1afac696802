"""`coffre backup database --here`: in the command's own process, with a stack and without one."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import BUCKET, PASSWORD, TABLE, Coffre, run_sql
from tests.integration.expect import no_secret
from tests.integration.vault_copies import Command, command_in, files_of, without_aws

from coffre.model.backup import Status
from coffre.model.errors import SettingsError
from coffre.vault.codec import public_key
from coffre_cli import client_programs, deployed
from coffre_cli.deployed import DeployedStack
from coffre_local.sample import fingerprint

FUNCTIONS = {"BackupDatabaseFunction": "coffre-backup-database", "BackupStorageFunction": "coffre-backup-storage"}


class Functions:
    """Lambda, as far as `--here` asks it: the settings of a function."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def get_function_configuration(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName in FUNCTIONS.values()
        return {"Environment": {"Variables": self.environment}}


@pytest.fixture
def stack(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Coffre:
    outputs = {
        "VaultBucket": BUCKET,
        "VaultPrefix": "/",
        "CatalogTable": TABLE,
        "Configuration": "configuration",
        **FUNCTIONS,
    }
    monkeypatch.setattr(deployed, "read_state", lambda: None)
    monkeypatch.setattr(deployed, "_outputs", lambda _: outputs)
    monkeypatch.setattr(DeployedStack, "functions", Functions(coffre.environment))
    monkeypatch.setenv("COFFRE_STACK", "coffre")
    return coffre


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("COFFRE_VAULT", raising=False)
    return command_in(tmp_path / "work", monkeypatch, capfd)


def is_free(stack: Coffre) -> bool:
    """Tell whether no run holds the target's lock."""
    now = datetime.now(UTC)
    return stack.catalog.locks.acquire("shop", "the test", now, stale_after=timedelta(hours=1)).acquired


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


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """Ctrl-C as in a shell: the workers of pytest-xdist ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_ctrl_c_settles_the_record_and_leaves_no_session(
    stack: Coffre, shop: str, here: Command, postgresql_home: Path
) -> None:
    """Given a table that is locked: the run waits for it, and Ctrl-C comes."""
    stack.configure(shop)
    with psycopg2.connect(shop) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        threading.Thread(target=_interrupt_when, args=(lambda: _waiting(shop) > 0,), daemon=True).start()
        said = here("backup", "database", "shop", "--here", "--postgres-home", postgresql_home)
        left = _sessions(shop)
        blocker.rollback()

    assert said.status == 130
    assert "Stopping: sessions at the server are ended" in said.err
    assert "The backup was interrupted on the machine where it ran. [INTERRUPTED]" in said.err
    [record] = stack.backups()
    assert (record.status, record.failure and record.failure.code) == (Status.FAILED, "INTERRUPTED")
    assert left == 1, "only the one that holds the lock"
    assert is_free(stack)
    assert [alert["MessageAttributes"]["kind"]["Value"] for alert in stack.troubles()] == ["BACKUP_FAILED"]


def _sessions(url: str) -> int:
    [[count]] = run_sql(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    return int(count)


def _waiting(url: str) -> int:
    [[count]] = run_sql(url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(count)


def _interrupt_when(ready: Callable[[], bool]) -> None:
    while not ready():
        time.sleep(0.05)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


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
