"""`coffre --vault`: the account is gone, and a copy of the vault on a disk is all there is."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.contents import RoundTrip, rows
from tests.integration.vault_copies import Lose, command_in, files_of, losing, write_identity

from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.progress import Meter
from coffre_cli.commands.restore import without_stack as restore_here

ROWS = "SELECT count(*), sum(id), min(note) FROM orders"


@pytest.fixture
def lost(
    coffre: Coffre, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lose:
    return losing(coffre, shop, tmp_path, monkeypatch, capfd)


def test_a_directory_is_listed_looked_at_and_restored_without_any_aws(
    lost: Lose, coffre: Coffre, shop: str, new_database: str, tmp_path: Path
) -> None:
    # Given two backups, of which nothing is left but a copy of the vault
    command = lost(times=2)
    newest, oldest = command.ids
    before = files_of(tmp_path / "vault")
    expected = run_sql(shop, ROWS)

    listed = command("list", "--json")
    seen = command("show", "latest")
    tables = command("ls", "latest")
    one = command("cat", oldest, "customers")
    same = command("diff", oldest, newest)
    restored = command("restore", "database", "latest", "--to", new_database)

    # Then each command says what it says with a stack, and once what cannot be proven
    assert [backup["id"] for backup in json.loads(listed.out)] == [newest, oldest]
    assert listed.err.count("Without a catalog nothing proves") == 1
    assert f"Backup {newest} of shop: COMPLETED" in seen.out
    assert "orders" in tables.out
    assert one.out.startswith("1\tAda Lovelace 1\n")
    assert "No differences" in same.err
    assert restored.status == 0
    assert "Restored shop in" in restored.out
    assert "2 tables, 1,050 rows" in restored.out
    assert run_sql(new_database, ROWS) == expected
    # And the report is beside the person, the vault as it was, no password anywhere
    (report,) = Path().glob("coffre-restore-*.json")
    assert str(report) in restored.out
    assert json.loads(report.read_text())["rows"] == 1050
    assert files_of(tmp_path / "vault") == before
    assert "pa55" not in restored.out + restored.err + report.read_text()


def test_tables_are_compared_and_replaced_in_an_address_that_was_given(lost: Lose, shop: str) -> None:
    command = lost()
    expected = run_sql(shop, "SELECT * FROM orders ORDER BY id")
    run_sql(shop, "UPDATE orders SET note = 'oops'", "DELETE FROM orders WHERE id < 10")

    beside = command("restore", "tables", "latest", "orders", "--to", shop)
    refused = command("restore", "tables", "latest", "orders", "--to", shop, "--replace")
    unsafe = command("restore", "tables", "latest", "orders", "--to", shop, "--replace", "--yes")
    assert run_sql(shop, "SELECT count(*) FROM orders WHERE id < 10") == [(0,)]
    replaced = command("restore", "tables", "latest", "orders", "--to", shop, "--replace", "--yes", "--no-safety")

    assert (beside.status, refused.status, unsafe.status, replaced.status) == (0, 2, 1, 0)
    # Without a stack no function can take a backup of it first
    assert "cannot be backed up first: without a stack no function can do that" in unsafe.err
    assert "--no-safety" in unsafe.err
    assert "No table in use was changed" in beside.out
    assert "--yes" in refused.err
    assert run_sql(shop, "SELECT * FROM orders ORDER BY id") == expected


def test_a_failed_restore_ends_as_one_of_a_stack_does_and_drops_what_it_made(
    lost: Lose, tmp_path: Path, new_database: str, shop: str
) -> None:
    command = lost()
    pack = max((tmp_path / "vault" / "v1" / "packs").rglob("*-*"), key=lambda path: path.stat().st_size)
    body = bytearray(pack.read_bytes())
    body[len(body) // 2] ^= 1
    pack.write_bytes(body)

    ended = command("restore", "database", "latest", "--to", new_database, "--strict")
    as_json = command("restore", "database", "latest", "--to", new_database, "--strict", "--json")
    into_what_is_used = command("restore", "database", "latest", "--to", shop)
    looked = command("verify")
    read = command("verify", "--level", "read")

    assert ended.status == 1
    assert "failed" in ended.out
    assert "[FRAME_DAMAGED]" in ended.err
    assert json.loads(as_json.out)["failure"]["code"] == "FRAME_DAMAGED"
    assert (into_what_is_used.status, "[DESTINATION_NOT_EMPTY]" in into_what_is_used.err) == (1, True)
    assert f"coffre --vault {tmp_path}/vault --identity {tmp_path}/key.txt restore" in into_what_is_used.out
    # An inventory sees names and lengths, only reading sees bytes; neither tells of backups to be taken
    assert (looked.status, read.status) == (0, 1)
    assert "is DAMAGED" in read.out
    assert "The newest good backup of shop: NONE" in read.out
    assert "coffre backup" not in read.out
    assert list(Path().iterdir()) == []


def test_ctrl_c_ends_a_restore_as_a_deadline_does(
    lost: Lose, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = lost()

    def interrupted(job: RestoreJob, meter: Meter) -> RestoreReport:
        """Let the person press Ctrl-C when the restore has made its database and reads the first rows."""

        def load_slowly(*_: Any, **__: Any) -> int:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                job.children.check()  # raises when the run is stopped
                time.sleep(0.01)

        monkeypatch.setattr("coffre.operations.restore_database.table_rows.copy_in", load_slowly)
        return restore_database(job, meter)

    monkeypatch.setattr(restore_here, "restore_database", interrupted)

    ended = command("restore", "database", "latest", "--to", new_database, "--streams", "1")

    assert ended.status == 130
    assert "[INTERRUPTED]" in ended.err
    name = urlsplit(new_database).path[1:]
    maintenance = new_database.replace(f"/{name}", "/postgres")
    assert run_sql(maintenance, f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []
    assert list(Path().iterdir()) == []


def test_a_vault_in_a_bucket_below_a_prefix_needs_no_catalog(
    round_trip: RoundTrip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a vault in S3, and no stack
    coffre = round_trip.coffre
    round_trip.fill("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 100) n")
    coffre.environment["COFFRE_VAULT_PREFIX"] = "safe/one"
    round_trip.back_up()
    key = write_identity(coffre, tmp_path / "key.txt")
    command = command_in(tmp_path / "here", monkeypatch, capfd)

    restored = command(
        "--vault",
        "s3://vault/safe/one/",
        "--identity",
        key,
        "restore",
        "database",
        "latest",
        "--to",
        with_password(round_trip.copy),
    )
    above = command("--vault", "s3://vault/safe", "list")
    looked = command("--vault", "s3://vault/safe/one", "verify")
    coffre.put_object(max(coffre.objects("safe/one/v1/packs/")), b"x" * 10)
    lacking = command("--vault", "s3://vault/safe/one", "verify")

    assert restored.status == 0
    assert rows(round_trip.copy, "SELECT count(*) FROM t") == [(100,)]
    assert "--vault s3://vault/safe/one" in above.err
    # S3 keeps checksums: they are compared
    assert (looked.status, "compared the checksums of 0" in looked.out) == (0, False)
    assert (lacking.status, "[PACK_TRUNCATED]" in lacking.out) == (1, True)
