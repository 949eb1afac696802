"""Backups that break in the middle: programs, connections, the vault, the catalog, the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from pynamodb.exceptions import UpdateError
from tests.integration.conftest import BUCKET, Coffre, client, run_sql, with_password
from tests.integration.contents import no_session_stays
from tests.integration.expect import failed_backup, lock_is_free, manifests, no_secret, unchanged
from tests.integration.faults import (
    CutProxy,
    answer,
    children,
    client_tools,
    during_copy,
    file_size_limit,
)

from coffre.model.backup import Status
from coffre.model.errors import CoffreError
from coffre.operations.runs import admission
from coffre.postgres.source.dump import SliceReader
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint


@pytest.fixture(scope="module")
def large(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with one table of 36 MB, and one small one. Nobody writes to it."""
    url = postgres_server.create_database("large")
    run_sql(
        url,
        "CREATE TABLE measurements AS"
        " SELECT n AS id, repeat(md5(n::text), 10) AS value FROM generate_series(1, 100000) AS n",
        "CREATE TABLE notes AS SELECT 1 AS id",
    )
    yield with_password(url)
    postgres_server.drop_database("large")


# --- programs ---


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ('{real} "$@" | head -c 1500\nkill -9 $$', "TOOL_KILLED", ["pg_dump was killed by signal 9"]),
        ('{real} "$@" | head -c 1500\nexit 1', "TOOL_FAILED", ["pg_dump ended with status 1"]),
        # The worst of all: half an archive and a cheerful end.
        ('{real} "$@" | head -c 1500\nexit 0', "TOOL_FAILED", ["not a complete archive", "cut off"]),
        ("exit 0", "TOOL_FAILED", ["not a complete archive"]),
        ("echo 'pg_dump: error: out of luck' >&2\nexit 2", "TOOL_FAILED", ["out of luck", "status 2"]),
    ],
)
def test_a_dump_of_the_schema_that_breaks_is_a_failed_backup(
    coffre: Coffre, shop: str, new_database: str, tmp_path: Path, postgresql_home: Path, script: str, code: str,
    words: list[str],
) -> None:  # fmt: skip
    # Given a good backup
    coffre.configure(shop)
    good = coffre.backup()
    # When pg_dump breaks in the next one
    whole = coffre.environment["COFFRE_POSTGRES_HOME"]
    asked = 'case "$1" in --version) exec {real} "$@";; esac\n'
    coffre.environment["COFFRE_POSTGRES_HOME"] = client_tools(
        postgresql_home, tmp_path / "tools", pg_dump=asked + script
    )
    failed_backup(coffre, code, *words)
    # Then the good one can be restored
    coffre.environment["COFFRE_POSTGRES_HOME"] = whole
    coffre.restore(good["id"], new_database)
    assert fingerprint(new_database) == fingerprint(shop)


def test_warnings_on_stderr_do_not_fail_a_backup(
    coffre: Coffre, shop: str, tmp_path: Path, postgresql_home: Path
) -> None:
    noisy = "echo 'warning: the moon is full' >&2\nexec {real} \"$@\""
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = client_tools(
        postgresql_home, tmp_path / "tools", pg_dump=noisy, psql=noisy, pg_dumpall=noisy, pg_restore=noisy
    )

    assert coffre.backup()["status"] == "COMPLETED"


def test_a_client_that_talks_without_end_on_stderr_does_not_block(
    coffre: Coffre, shop: str, tmp_path: Path, postgresql_home: Path
) -> None:
    """More than a pipe holds."""
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = client_tools(
        postgresql_home, tmp_path / "tools", pg_dump="head -c 150000 /dev/zero | tr '\\0' w >&2\nexec {real} \"$@\""
    )

    assert coffre.backup()["status"] == "COMPLETED"


def test_roles_that_cannot_be_read_are_told_and_fail_nothing(
    coffre: Coffre, shop: str, tmp_path: Path, postgresql_home: Path
) -> None:
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = client_tools(
        postgresql_home, tmp_path / "tools", pg_dumpall="echo 'permission denied for table pg_authid' >&2\nexit 1"
    )

    coffre.backup()

    (backup,) = coffre.backups()
    assert backup.status is Status.COMPLETED
    (exception,) = backup.exceptions
    assert exception.startswith("Roles were not backed up")
    (alert,) = coffre.troubles()
    assert alert["MessageAttributes"]["kind"]["Value"] == "BACKUP_EXCEPTIONS"
    assert exception in alert["Message"]
    # And the next backup that has them says that it is over
    coffre.environment["COFFRE_POSTGRES_HOME"] = str(postgresql_home)
    coffre.backup()
    assert coffre.backups()[0].exceptions == ()
    (over,) = coffre.alerts()
    assert over["MessageAttributes"]["state"]["Value"] == "recovered"


def test_a_program_for_roles_that_is_killed_once_is_run_again(
    coffre: Coffre, shop: str, tmp_path: Path, postgresql_home: Path
) -> None:
    killed = tmp_path / "killed"
    once = f'if [ ! -e {killed} ]; then touch {killed}; kill -9 $$; fi\nexec {{real}} "$@"'
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = client_tools(postgresql_home, tmp_path / "tools", pg_dumpall=once)

    done = coffre.backup()

    assert killed.exists()
    backup = coffre.catalog.get_backup(done["id"])
    assert backup.exceptions == ()
    manifest = coffre.backup_function().services.vault.read_manifest(
        backup.manifest_key or "", sha256=backup.manifest_sha256 or ""
    )
    assert "roles" in [entry.name for entry in coffre.backup_function().services.vault.entries(manifest)]
    assert coffre.alerts() == []


# --- connections ---


def test_a_reader_whose_server_process_ends_is_a_failed_backup(
    coffre: Coffre, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(large)
    with monkeypatch.context() as faulty:
        during_copy(
            faulty,
            lambda: run_sql(
                large,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'coffre%' AND query LIKE 'COPY%'",
            ),
        )
        failed_backup(coffre, "CONNECTION_LOST", "was cut while it was being read", "Run the backup again")

    no_session_stays(large)
    assert coffre.backup()["status"] == "COMPLETED"


def test_a_holder_that_is_cut_when_all_readers_have_begun_does_no_harm(
    coffre: Coffre, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader has the snapshot for itself by then, and locks what it reads."""
    coffre.configure(large, target={"limits": {"streams": 1}})
    cut = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'coffre%' AND state = 'idle in transaction' ORDER BY backend_start LIMIT 1"
    )
    with monkeypatch.context() as faulty:
        during_copy(faulty, lambda: run_sql(large, cut))
        assert coffre.backup()["status"] == "COMPLETED"


def test_a_holder_that_is_cut_before_a_reader_begins_is_a_failed_backup(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reader that begins when the holder's server process has just ended
    begin = SliceReader.__enter__
    cut = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name LIKE 'coffre%'"

    def cut_and_begin(self: SliceReader) -> SliceReader:
        run_sql(shop, cut)
        return begin(self)

    coffre.configure(shop)
    with monkeypatch.context() as faulty:
        faulty.setattr(SliceReader, "__enter__", cut_and_begin)
        # Then the snapshot is gone with the holder
        failed_backup(coffre, "CONNECTION_LOST", "session that held the backup's snapshot was cut")

    assert coffre.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize("streams", [1, 2])
def test_a_network_that_is_cut_in_the_middle_is_a_failed_backup(
    coffre: Coffre, large: str, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    parts = urlsplit(large)
    with CutProxy(parts.port or 0) as proxy, monkeypatch.context() as faulty:
        coffre.configure(large.replace(f":{parts.port}/", f":{proxy.port}/"), target={"limits": {"streams": streams}})
        # Given readers of which none begins before all are connected
        enter, all_connected = SliceReader.__enter__, threading.Barrier(streams, timeout=60)

        def enter_together(self: SliceReader) -> SliceReader:
            reader = enter(self)
            all_connected.wait()
            return reader

        faulty.setattr(SliceReader, "__enter__", enter_together)
        during_copy(faulty, proxy.cut)
        failed_backup(coffre, "CONNECTION_LOST")

    assert children() == []


def test_a_table_that_somebody_locks_is_named_as_the_reason_after_three_tries(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, target={"limits": {"lock_timeout_seconds": 1}})
    other = psycopg2.connect(shop)
    try:
        other.cursor().execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        failed_backup(coffre, "LOCK_TIMEOUT", "Another session holds a lock", "limits.lock_timeout_seconds")
    finally:
        other.close()

    assert coffre.backup()["status"] == "COMPLETED"


# --- the vault ---


class _Uploads:
    """An S3 client whose uploads are asked first: `fault` returns the error of one that is refused."""

    def __init__(self, real: Any, fault: Callable[[dict[str, Any]], Exception | None]) -> None:
        self._real = real
        self._fault = fault

    def put_object(self, **request: Any) -> Any:
        if (error := self._fault(request)) is not None:
            raise error
        return self._real.put_object(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def refuse(
    monkeypatch: pytest.MonkeyPatch, coffre: Coffre, fault: Callable[[dict[str, Any]], Exception | None]
) -> None:
    """Let the store refuse uploads."""
    store = coffre.backup_function().services.vault.store
    monkeypatch.setattr(store, "_client", _Uploads(store._client, fault))  # type: ignore[attr-defined]


def test_a_missing_vault_is_an_error_that_names_the_bucket(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.environment["COFFRE_VAULT_BUCKET"] = "vault-that-is-not-there"

    failed_backup(coffre, "BUCKET_MISSING", "vault-that-is-not-there", "Check the bucket's name")


@pytest.mark.parametrize("part", ["v1/packs/", "entries.jsonl.zst", "manifest.json"])
def test_a_vault_that_refuses_writes_is_an_error_that_names_the_missing_right(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    coffre.configure(shop)
    with monkeypatch.context() as faulty:
        refuse(faulty, coffre, lambda request: answer("AccessDenied", status=403) if part in request["Key"] else None)
        failed_backup(coffre, "STORE_DENIED", part, "s3:PutObject", f"arn:aws:s3:::{BUCKET}/v1/")

    assert coffre.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize("part", ["v1/packs/", "entries.jsonl.zst", "manifest.json"])
def test_an_upload_that_is_corrupted_each_time_is_an_error(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    coffre.configure(shop)
    refuse(monkeypatch, coffre, lambda request: answer("BadDigest") if part in request["Key"] else None)

    failed_backup(coffre, "UPLOAD_CORRUPTED", part, "Other bytes arrived", "nothing was stored")


def test_an_upload_that_is_corrupted_once_is_sent_again(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    corrupted = set()

    def corrupt_first(request: dict[str, Any]) -> Exception | None:
        if request["Key"] in corrupted:
            return None
        corrupted.add(request["Key"])
        return answer("XAmzContentChecksumMismatch")

    refuse(monkeypatch, coffre, corrupt_first)

    done = coffre.backup()

    assert corrupted == set(coffre.objects())
    coffre.restore(done["id"], new_database)
    assert fingerprint(new_database) == fingerprint(shop)


# --- the catalog ---


def unavailable_from(monkeypatch: pytest.MonkeyPatch, coffre: Coffre, key: str, *, after: bool) -> None:
    """Let the catalog take no writes any more, from just before or after an upload whose key ends with `key`."""
    function = coffre.backup_function()
    store, table = function.services.vault.store, function.services.catalog._table._connection
    put, gone = store.put, []

    def put_and_break(name: str, *arguments: Any, **named: Any) -> None:
        if name.endswith(key) and not after:
            gone.append(name)
        put(name, *arguments, **named)
        if name.endswith(key) and after:
            gone.append(name)

    def or_break(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if gone:
                raise UpdateError("The table is gone", cause=answer("InternalServerError", status=500))
            return call(*arguments, **named)

        return called

    monkeypatch.setattr(store, "put", put_and_break)
    for call in ("put_item", "update_item", "delete_item", "get_item", "query"):
        monkeypatch.setattr(table, call, or_break(getattr(table, call)))


def test_a_catalog_that_is_gone_before_the_manifest_leaves_no_manifest(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    good = coffre.backup()
    before = coffre.objects()

    # When the catalog goes while the list of entries is written
    with monkeypatch.context() as faulty:
        unavailable_from(faulty, coffre, "entries.jsonl.zst", after=False)
        with pytest.raises(CoffreError) as caught:
            coffre.backup()

    # Then the run ends in an error, of which a person is told, and nothing was published
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    (alert,) = coffre.alerts()
    assert "could not be recorded in the catalog" in alert["Message"]
    assert "Last good backup: unknown" in alert["Message"]
    assert len(manifests(coffre)) == 1
    unchanged(before, coffre.objects())
    no_secret(coffre, caught.value)

    # And once the lock is stale, the next run says what became of it
    monkeypatch.setattr(admission, "STALE_AFTER", timedelta(0))
    assert coffre.backup()["outcome"] == "completed"
    newest, lost, oldest = coffre.backups()
    assert (newest.status, oldest.id) == (Status.COMPLETED, good["id"])
    assert lost.failure is not None
    assert lost.failure.code == "RUN_DIED"


def test_a_catalog_that_is_gone_after_the_manifest_loses_no_backup(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)

    # When the catalog goes right after the manifest was written
    with monkeypatch.context() as faulty:
        unavailable_from(faulty, coffre, "manifest.json", after=True)
        with pytest.raises(CoffreError) as caught:
            coffre.backup()

    # Then the error says that the backup is there
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    assert "is complete in the vault" in caught.value.message
    alert, audit = coffre.alerts()
    assert [kind_of(one) for one in (alert, audit)] == ["BACKUP_FAILED", "AUDIT_FAILED"]
    assert "Nothing is lost" in alert["Message"]
    (unfinished,) = coffre.backups()
    assert unfinished.status is Status.IN_PROGRESS
    assert not lock_is_free(coffre)

    # And once the lock is stale, the next run lists it as COMPLETED, and makes its own
    monkeypatch.setattr(admission, "STALE_AFTER", timedelta(0))
    assert coffre.backup()["outcome"] == "completed"
    own, adopted = coffre.backups()
    assert (own.status, adopted.status) == (Status.COMPLETED, Status.COMPLETED)
    assert adopted.id == unfinished.id
    assert adopted.rows == own.rows
    assert coffre.alerts() == []

    # And it can be restored
    coffre.restore(adopted.id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)


def test_the_repetition_of_a_slot_whose_backup_was_not_recorded_joins_it(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    slot = {"tier": "DAILY", "scheduled_time": "2026-10-04T02:00:00Z"}
    with monkeypatch.context() as faulty:
        unavailable_from(faulty, coffre, "manifest.json", after=True)
        with pytest.raises(CoffreError):
            coffre.backup(None, **slot)

    monkeypatch.setattr(admission, "STALE_AFTER", timedelta(0))
    again = coffre.backup(None, **slot)

    assert again["outcome"] == "joined"
    (adopted,) = coffre.backups()
    assert adopted.status is Status.COMPLETED
    assert lock_is_free(coffre)


def test_a_catalog_that_does_not_answer_from_the_start_is_an_error(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    client("dynamodb").delete_table(TableName="catalog")

    with pytest.raises(CoffreError) as caught:
        coffre.backup()

    assert caught.value.code == "CATALOG_UNAVAILABLE"
    # The configuration is in the catalog: nothing can start
    (alert,) = coffre.alerts()
    assert kind_of(alert) == "CONFIG_INVALID"
    assert "does nothing until this is corrected" in alert["Message"]
    assert "[CATALOG_UNAVAILABLE]" in alert["Message"]
    assert coffre.objects() == {}


def kind_of(alert: dict[str, Any]) -> str:
    return str(alert["MessageAttributes"]["kind"]["Value"])


def test_an_alert_that_cannot_be_sent_hides_nothing(coffre: Coffre, shop: str) -> None:
    coffre.configure(f"{shop}_that_is_not_there")
    coffre.environment["COFFRE_ALERT_TOPIC_ARN"] += "-that-is-not-there"

    with pytest.raises(CoffreError, match="DATABASE_MISSING"):
        coffre.backup()

    (backup,) = coffre.backups()
    assert backup.status is Status.FAILED
    assert any("ALERT_NOT_SENT" in line for line in coffre.log_lines)


# --- the disk ---


def test_a_full_disk_is_an_error_that_says_which_setting_to_raise(coffre: Coffre, shop: str) -> None:
    # Given a schema of more than 64 KiB
    run_sql(shop, f"COMMENT ON TABLE orders IS '{'long ' * 20_000}'")
    coffre.configure(shop)
    coffre.backup_function()

    # When the disk has no room for it
    with file_size_limit(64 * 1024), pytest.raises(CoffreError) as caught:
        coffre.backup()

    # Then this is said, and the next backup works
    assert caught.value.code == "SCRATCH_FULL"
    assert "EphemeralStorage" in str(caught.value.hint)
    (failed,) = coffre.backups()
    assert failed.failure is not None
    assert failed.failure.code == "SCRATCH_FULL"
    assert len(coffre.alerts()) == 1
    assert manifests(coffre) == []
    assert coffre.backup()["status"] == "COMPLETED"
