"""`coffre --vault`: what it verifies, and what it refuses with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.vault_copies import Lose, command_in, losing

from coffre.vault.codec import new_identity


@pytest.fixture
def lost(
    coffre: Coffre, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lose:
    return losing(coffre, shop, tmp_path, monkeypatch, capfd)


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
    assert "Nothing is missing" in looked.out
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
    strange = bare("--vault", "ftp://bucket", "list")
    unknown = command("list", "nosuch")
    no_stack = command("backup", "database")
    nowhere = command("restore", "database", "latest")
    secret = command("restore", "database", "latest", "--to", "coffre/destination/x")
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


def test_no_program_of_postgresql_is_needed(
    lost: Lose, new_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = lost()
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(tmp_path / "nothing"))

    planned = command("restore", "database", "latest", "--to", new_database, "--dry-run")
    restored = command("restore", "database", "latest", "--to", new_database)
    exported = command("export", "latest", "--format", "plain", "-o", "shop.sql")

    assert (planned.status, restored.status, exported.status) == (0, 0, 0)
    assert "ADA" not in Path("shop.sql").read_text()
    assert "Ada Lovelace 1" in Path("shop.sql").read_text()
