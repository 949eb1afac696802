"""`coffre --vault`: the account is gone, and a copy of the vault on a disk is all there is."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.contents import RoundTrip, rows
from tests.integration.vault_copies import (
    Command,
    Said,
    command_in,
    copy_vault,
    files_of,
    without_aws,
    write_identity,
)

from coffre.model.backup import RestoreReport
from coffre.model.manifest import Entry, EntryKind
from coffre.operations.progress import Meter
from coffre.operations.restore_database import restore_database
from coffre.operations.restore_plan import Job
from coffre.vault.codec import new_identity
from coffre_cli.commands import restore_here

ROWS = "SELECT count(*), sum(id), min(note) FROM orders"


@dataclass(frozen=True)
class Lost:
    """What is left: the command with the copy and the key, and the ids of the backups, newest first."""

    command: Command
    ids: list[str]

    def __call__(self, *arguments: object) -> Said:
        return self.command(*arguments)


type Lose = Callable[..., Lost]


@pytest.fixture
def lost(
    coffre: Coffre, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lose:
    """Back up, copy the vault, take AWS away; gives the command with the copy and the key."""

    def lose(*, times: int = 1) -> Lost:
        coffre.configure(shop)
        for _ in range(times):
            coffre.backup()
        ids = [backup.id for backup in coffre.backups()]
        vault = copy_vault(coffre, tmp_path / "vault")
        key = write_identity(coffre, tmp_path / "key.txt")
        without_aws(monkeypatch)
        run = command_in(tmp_path / "here", monkeypatch, capfd)
        return Lost(lambda *arguments: run("--vault", vault, "--identity", key, *arguments), ids)

    return lose


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
    restored = command("restore", "latest", "--to", new_database)

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

    beside = command("restore", "latest", "--table", "orders", "--to", shop)
    refused = command("restore", "latest", "--table", "orders", "--to", shop, "--replace")
    replaced = command("restore", "latest", "--table", "orders", "--to", shop, "--replace", "--yes")

    assert (beside.status, refused.status, replaced.status) == (0, 2, 0)
    assert "Nothing in use was touched" in beside.out
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

    ended = command("restore", "latest", "--to", new_database)
    as_json = command("restore", "latest", "--to", new_database, "--json")
    into_what_is_used = command("restore", "latest", "--to", shop)
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
    assert "The newest good backup of shop: there is NONE" in read.out
    assert "coffre backup" not in read.out
    assert list(Path().iterdir()) == []


def test_everything_is_read_back_and_what_is_missing_is_named(lost: Lose, coffre: Coffre, tmp_path: Path) -> None:
    command = lost(times=2)
    vault = tmp_path / "vault"

    looked, read, one = command("verify"), command("verify", "--level", "read"), command("verify", "latest")
    packs = sorted((vault / "v1" / "packs").rglob("*-*"))
    packs[0].unlink()
    lacking = command("verify")
    broken = vault / "v1" / "backups" / "shop" / command.ids[0] / "manifest.json"
    broken.write_text("{}")
    unreadable = command("verify", "--json")
    listed = command("list")
    shown = command("show", broken.parent.name)

    assert (looked.status, read.status, one.status) == (0, 0, 0)
    assert "Everything is there" in looked.out
    assert read.out.count(": verified") == 2
    assert (lacking.status, "[PACK_MISSING]" in lacking.out) == (1, True)
    (report,) = json.loads(unreadable.out)
    assert {damaged["damages"][0]["code"] for damaged in report["damaged"]} == {"PACK_MISSING", "MANIFEST_DAMAGED"}
    assert listed.status == 0
    assert broken.parent.name in listed.err
    assert (shown.status, "[MANIFEST_DAMAGED]" in shown.err) == (1, True)


def test_a_report_that_cannot_be_read_hides_no_backup(lost: Lose, coffre: Coffre, tmp_path: Path) -> None:
    command = lost()
    (backup_id,) = command.ids
    reports = tmp_path / "vault" / "v1" / "backups" / "shop" / backup_id / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "damage.json").write_text("no JSON")

    listed = command("list")

    assert backup_id in listed.out
    assert "[REPORT_DAMAGED]" in listed.err


def test_keys_are_tried_together_and_what_is_wrong_with_them_is_said(
    lost: Lose,
    coffre: Coffre,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    lost()
    command = command_in(tmp_path / "here", monkeypatch, capfd)
    vault, key, other = tmp_path / "vault", tmp_path / "key.txt", tmp_path / "other.txt"
    other.write_text(new_identity())
    cat = ("cat", "latest", "customers")

    none = command("--vault", vault, *cat)
    wrong = command("--vault", vault, "--identity", other, *cat)
    both = command("--vault", vault, "--identity", other, "--identity", key, *cat)
    missing = command("--vault", vault, "--identity", tmp_path / "nowhere", *cat)
    naked = command("--vault", vault, "--identity", coffre.identity, *cat)
    monkeypatch.setenv("KEY", coffre.identity)
    named = command("--vault", vault, "--identity", "env:KEY", *cat)
    monkeypatch.setenv("COFFRE_VAULT", str(vault))
    monkeypatch.setenv("COFFRE_IDENTITY", "env:KEY")
    by_environment = command(*cat)

    assert [said.status for said in (none, wrong, both, missing, naked, named, by_environment)] == [1, 1, 0, 1, 1, 0, 0]
    assert "[IDENTITY_MISSING]" in none.err
    assert "[WRONG_IDENTITY]" in wrong.err
    assert "nowhere" in missing.err
    assert coffre.identity not in naked.err
    assert both.out == named.out == by_environment.out


def test_wrong_places_and_commands_are_refused_with_what_to_do(
    lost: Lose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = lost()
    bare = command_in(tmp_path / "here", monkeypatch, capfd)
    (tmp_path / "empty").mkdir()

    above = bare("--vault", tmp_path, "list")
    inside = bare("--vault", f"{tmp_path}/vault/v1/", "list")
    empty = bare("--vault", tmp_path / "empty", "list")
    missing = bare("--vault", tmp_path / "nowhere", "list")
    strange = bare("--vault", "gs://bucket", "list")
    unknown = command("list", "nosuch")
    no_stack = command("backup", "database")
    nowhere = command("restore", "latest")
    secret = command("restore", "latest", "--to", "coffre/destination/x")
    fresh = command("verify", "--level", "fresh")
    both = command("list", "--stack", "coffre")
    lonely = bare("--identity", tmp_path / "key.txt", "list")

    assert f"--vault {tmp_path}/vault" in above.err
    assert f"--vault {tmp_path}/vault\n" in inside.err
    assert "[VAULT_EMPTY]" in empty.err
    assert str(tmp_path / "nowhere") in missing.err
    assert "[VAULT_UNUSABLE]" in strange.err
    assert "It has backups of: shop" in unknown.err
    assert "needs a stack" in no_stack.err
    assert "--to" in nowhere.err
    assert "--to" in secret.err
    assert "needs a stack" in fresh.err
    assert "--vault" in lonely.err
    assert (both.status, "exclude each other" in both.err) == (2, True)
    statuses = [
        said.status for said in (above, empty, missing, strange, unknown, no_stack, nowhere, secret, fresh, lonely)
    ]
    assert statuses == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]


def test_programs_that_are_missing_are_only_missed_when_they_are_needed(
    lost: Lose, new_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = lost()
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(tmp_path / "nothing"))

    planned = command("restore", "latest", "--to", new_database, "--dry-run")
    failed = command("restore", "latest", "--to", new_database)
    exported = command("export", "latest", "--format", "plain", "-o", "shop.sql")

    assert (planned.status, failed.status, exported.status) == (0, 1, 0)
    assert "[TOOLS_MISSING]" in failed.err
    assert "COFFRE_POSTGRES_HOME" in failed.err
    assert "ADA" not in Path("shop.sql").read_text()
    assert "Ada Lovelace 1" in Path("shop.sql").read_text()


def test_ctrl_c_ends_a_restore_as_a_deadline_does(
    lost: Lose, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = lost()

    def interrupted(job: Job, meter: Meter) -> RestoreReport:
        """Let the person press Ctrl-C when the restore has made its database and reads the first rows."""
        read = job.vault.read_entry

        def read_slowly(entry: Entry, *how: Any, **more: Any) -> Iterator[bytes]:
            if entry.kind is EntryKind.TABLE and not pressed.is_set():
                pressed.set()
                os.kill(os.getpid(), signal.SIGINT)
                while True:
                    job.children.check()  # raises when the run is stopped
                    time.sleep(0.01)
            yield from read(entry, *how, **more)

        pressed = threading.Event()
        monkeypatch.setattr(job.vault, "read_entry", read_slowly)
        return restore_database(job, meter)

    monkeypatch.setattr(restore_here, "restore_database", interrupted)

    ended = command("restore", "latest", "--to", new_database, "--streams", "1")

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
