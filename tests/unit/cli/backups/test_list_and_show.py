"""`coffre list` and `coffre show`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Progress, Status, Tier
from coffre_cli import screen

ALL_TIERS = (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY)
# What the README promises to scripts.
PROMISED = {"id", "target", "status", "tiers", "plaintext_bytes", "stored_bytes", "duration_ms", "tables", "rows"}


def test_without_backups_the_list_says_how_to_take_one(coffre: Coffre, account: Account) -> None:
    said = coffre("list")

    assert (said.status, said.err) == (0, "")
    assert said.out == "No backups yet. Take one:\n  coffre backup database\n"
    assert coffre("list", "shop").out == "No backups of shop yet. Take one:\n  coffre backup database shop\n"
    assert coffre("list", "shop", "--status", "failed").out == "No FAILED backups of shop.\n"
    assert coffre("list", "--json").json() == []


def test_the_list_has_every_state_newest_first_and_every_tier_on_eighty_columns(
    coffre: Coffre, account: Account
) -> None:
    made = [
        account.backup(tiers=ALL_TIERS),
        account.backup(Status.FAILED),
        account.backup(Status.IN_PROGRESS, tiers=(Tier.MANUAL,)),
        account.backup(Status.DELETED),
    ]

    lines = coffre("list").out.splitlines()

    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == ["ID", "TARGET", "STATUS", "TIERS", "TAKEN", "TOOK", "SIZE", "STORED"]
    found = [line.split() for line in lines[1:] if line.startswith("01")]
    assert [row[0] for row in found] == [backup.id for backup in reversed(made)]
    assert [row[2] for row in found] == ["DELETED", "IN_PROGRESS", "FAILED", "COMPLETED"]
    assert {"daily", "weekly", "monthly", "manual"} <= set(" ".join(lines).split())


def test_a_damaged_backup_is_shown_as_one_and_is_nobodys_latest(coffre: Coffre, account: Account) -> None:
    good, bad = account.backup(), account.backup()
    account.catalog.keeping.mark_damaged(bad.id, "The pack P is not in the vault. [PACK_MISSING]", bad.created_at)

    rows = {line.split()[0]: line.split()[2] for line in coffre("list").out.splitlines()[1:]}
    shown = coffre("show", bad.id)

    assert rows == {good.id: "COMPLETED", bad.id: "DAMAGED"}
    assert "  DAMAGED   since " in shown.out
    assert "UTC: The pack P is not in the vault. [PACK_MISSING]" in shown.out
    assert coffre("show", "latest", "--json").json()["id"] == good.id
    assert coffre("show", bad.id, "--json").json()["damage"] == "The pack P is not in the vault. [PACK_MISSING]"


def test_when_all_are_damaged_latest_says_so_and_a_swapped_manifest_hides_nothing(
    coffre: Coffre, account: Account
) -> None:
    bad = account.backup(manifest_sha256="0" * 64)
    account.catalog.keeping.mark_damaged(bad.id, "Not the one that was recorded.", bad.created_at)

    refused = coffre("show", "latest")

    assert refused.status == 1
    assert f"the newest is {bad.id}. [BACKUP_DAMAGED]" in refused.err
    assert "Not the one that was recorded." in coffre("show", bad.id).out


@pytest.mark.parametrize("target", ["a" * 63, "a-target-of-a-usual-length"])
def test_a_long_name_folds_and_the_id_stays_whole(coffre: Coffre, account: Account, target: str) -> None:
    backup = account.backup(target=target, tiers=ALL_TIERS)

    lines = coffre("list").out.splitlines()

    assert max(len(line) for line in lines) <= 80
    assert lines[1].startswith(backup.id)
    assert "5.0 MB" in lines[1]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_terminal_is_too_narrow_for_a_column_or_a_number(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    backup = account.backup(target="shop-of-somebody", tiers=ALL_TIERS, plaintext_bytes=9_000_000, duration_ms=245_000)
    monkeypatch.setattr(screen.console, "width", width)

    said = coffre("list").out

    assert max(map(len, said.splitlines())) <= width
    for text in (backup.id, "TARGET", "STATUS", "COMPLETED", "TIERS", "TAKEN", "TOOK", "SIZE", "STORED"):
        assert text in said
    for text in ("4 min 05 s", "9.0 MB", "1.2 MB"):
        assert text in said


def test_a_wide_terminal_gets_every_column(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.backup()
    monkeypatch.setattr(screen.console, "width", 120)

    heading, row = coffre("list").out.splitlines()

    assert heading.split() == ["ID", "TARGET", "STATUS", "TIERS", "TAKEN", "TOOK", "SIZE", "STORED"]
    assert row.split()[-6:] == ["12.3", "s", "5.0", "MB", "1.2", "MB"]


def test_scripts_get_the_promised_names(coffre: Coffre, account: Account) -> None:
    account.backup(tiers=ALL_TIERS)
    account.backup(Status.FAILED)

    failed, completed = coffre("list", "--json").json()

    assert set(completed) >= PROMISED
    assert set(failed) == set(completed)
    assert {name: completed[name] for name in PROMISED - {"id"}} == {
        "target": "shop",
        "status": "COMPLETED",
        "tiers": ["DAILY", "WEEKLY", "MONTHLY"],
        "plaintext_bytes": 5_000_012,
        "stored_bytes": 1_234_567,
        "duration_ms": 12_345,
        "tables": 2,
        "rows": 1003,
    }
    assert failed["failure"]["code"] == "AUTHENTICATION_FAILED"
    assert failed["rows"] is None


def test_the_list_is_narrowed_by_target_status_and_limit(coffre: Coffre, account: Account) -> None:
    shop = [account.backup() for _ in range(3)]
    failed = account.backup(Status.FAILED)
    blog = account.backup(target="blog")

    def ids(*arguments: object) -> list[str]:
        return [backup["id"] for backup in coffre("list", *arguments, "--json").json()]

    assert ids("blog") == [blog.id]
    assert ids("shop", "--status", "failed") == [failed.id]
    assert ids("--status", "COMPLETED", "--limit", 2) == [blog.id, shop[2].id]


def test_a_list_that_is_cut_says_so(coffre: Coffre, account: Account) -> None:
    for _ in range(3):
        account.backup()

    assert "Older ones are not shown: --limit 10" in coffre("list", "--limit", 2).out
    assert "Older" not in coffre("list", "--limit", 3).out


@pytest.mark.parametrize("wrong", [("--status", "lost"), ("--limit", "-1"), ("--limit", "many"), ("--colour",)])
def test_wrong_usage_has_a_status_of_its_own(coffre: Coffre, account: Account, wrong: tuple[str, ...]) -> None:
    said = coffre("list", *wrong)

    assert (said.status, said.out) == (2, "")
    assert "Usage: coffre list" in said.err


def test_a_backup_is_shown_with_its_largest_tables(coffre: Coffre, account: Account) -> None:
    backup = account.backup(tiers=ALL_TIERS)

    out = coffre("show", backup.id).out

    assert f"Backup {backup.id} of shop: COMPLETED\n" in out
    assert "tiers     daily weekly monthly\n" in out
    assert "source    PostgreSQL 18.6, database shop, UTF8\n" in out
    assert "encrypted to age1" in out
    assert "exception extension table spatial_ref_sys is left out\n  note      2 of 4 streams were used\n" in out
    tables = [line.split() for line in out.splitlines()[-2:]]
    assert tables == [["public.orders", "1,000", "5.0", "MB"], ['public."Odd', 'Name"', "3", "12", "B"]]


def test_latest_is_the_newest_completed_one_of_the_target(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    account.backup(Status.FAILED)
    account.backup(target="blog")

    shown = coffre("show", "latest", "--json").json()

    assert shown["id"] == backup.id
    assert [table["table_name"] for table in shown["manifest"]["content"]["tables"]] == ["orders", "Odd Name"]


def test_latest_of_several_targets_asks_which(coffre: Coffre, account: Account) -> None:
    account.configure("shop", "blog")
    backup = account.backup(target="blog")

    said = coffre("show", "latest")

    assert said.status == 1
    assert "Several targets are configured: shop, blog." in said.err
    assert "What to do: Name one of them: --target shop" in said.err
    assert coffre("show", "latest", "--target", "blog", "--json").json()["id"] == backup.id


def test_a_failed_backup_is_shown_with_why_and_what_to_do(coffre: Coffre, account: Account) -> None:
    backup = account.backup(Status.FAILED)

    said = coffre("show", backup.id)

    assert said.status == 0
    assert (
        "Error: The server refuses the password. [AUTHENTICATION_FAILED]\nWhat to do: Update the secret.\n" in said.err
    )
    assert coffre("show", backup.id, "--json").json()["manifest"] is None


def test_a_running_backup_is_shown_with_how_far_it_is(coffre: Coffre, account: Account) -> None:
    backup = account.backup(Status.IN_PROGRESS, progress=Progress(phase="tables", done_bytes=1_500_000))

    assert "progress  tables, 1.5 MB so far" in coffre("show", backup.id).out


def test_a_spread_run_shows_its_functions_and_how_long_it_holds_its_snapshot(coffre: Coffre, account: Account) -> None:
    progress = Progress(phase="tables", workers=4, snapshot_seconds=4_320, snapshot_transactions=1_234_567)
    backup = account.backup(Status.IN_PROGRESS, progress=progress, spread="limits.spread is always.", workers=4)

    lines = coffre("show", backup.id).out.splitlines()

    assert "  spread    over 4 functions at a time: limits.spread is always." in lines
    assert (
        "  snapshot  held for 1 h 12 min, 1,234,567 transactions: the server keeps the dead rows of that time" in lines
    )


def test_a_swapped_manifest_is_not_shown(coffre: Coffre, account: Account) -> None:
    backup = account.backup(manifest_sha256="1" * 64)

    said = coffre("show", backup.id)

    assert said.status == 1
    assert "MANIFEST_SWAPPED" in said.err


def test_a_restore_is_shown_by_its_id(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    restore = account.restore(
        backup_id=backup.id,
        exceptions=("Not restored: EXTENSION postgis.",),
        report={"notes": ("New rows of orders were kept.",)},
    )

    out = coffre("show", restore.id).out

    assert f"Restore {restore.id} of backup {backup.id} (shop): COMPLETED" in out
    assert "into      db.example:5432/copy" in out
    assert "exception Not restored: EXTENSION postgis.\n  note      New rows of orders were kept.\n" in out
    shown = coffre("show", restore.id, "--json").json()
    assert (shown["id"], shown["report"]["rows"]) == (restore.id, 1003)


def test_an_unknown_id_says_where_ids_are(coffre: Coffre, account: Account) -> None:
    said = coffre("show", "nope")

    assert (said.status, said.out) == (1, "")
    assert said.err == (
        'Error: No backup or restore has the id "nope". [BACKUP_UNKNOWN]\n'
        "What to do: `coffre list` shows the backups and their ids.\n"
    )


def test_a_spread_backup_in_progress_shows_all_of_its_workers_in_one_line(coffre: Coffre, account: Account) -> None:
    progress = Progress(
        phase="tables",
        done_bytes=12_000_000_000,
        total_bytes=70_000_000_000,
        done_tables=3,
        total_tables=49,
        workers=4,
        snapshot_seconds=754,
        snapshot_transactions=3_400,
    )
    backup = account.backup(Status.IN_PROGRESS, spread="limits.spread is always.", workers=4, progress=progress)
    account.catalog.heartbeat_backup(backup.id, backup.created_at + timedelta(seconds=60), progress)

    said = coffre("show", backup.id).out

    assert "  spread    over 4 functions at a time: limits.spread is always.\n" in said
    assert "  progress  12.0 GB of 70.0 GB, 200.0 MB/s, 4 min 50 s left, 3/49 tables, 4 workers\n" in said
    assert "  snapshot  held for 12 min 34 s, 3,400 transactions: the server keeps the dead rows of that time\n" in said
    assert coffre("show", backup.id, "--json").json()["progress"]["workers"] == 4


def test_a_restore_in_progress_shows_how_far_it_is(coffre: Coffre, account: Account) -> None:
    restore = account.restore(
        Status.IN_PROGRESS,
        backup_id=account.backup().id,
        progress=Progress(phase="indexes", done_bytes=70, total_bytes=70, done_tables=4, total_tables=4),
    )

    assert "  progress  indexes, 4/4 tables\n" in coffre("show", restore.id).out
