"""`coffre list`: what is asked for, however much there is, and all of it in a few numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests import snapshots
from tests.catalog_table import spoil
from tests.unit.cli.conftest import BUCKET, Account, Coffre
from ulid import ULID

from coffre.model.backup import Status, Tier
from coffre.model.kinds import TargetKind
from coffre_cli import screen

# What a script could read before this command counted anything.
PROMISED = {"id", "target", "status", "tiers", "plaintext_bytes", "stored_bytes", "duration_ms", "tables", "rows"}


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def ids(coffre: Coffre, *arguments: object) -> list[str]:
    return [one["id"] for one in coffre("list", *arguments, "--json").json()]


@pytest.fixture
def photos(account: Account) -> Any:
    """A database and buckets, each with a backup."""
    account.configure_buckets("photos", "photos")
    account.backup(created_at=ago(days=10))
    return account.backup(kind=TargetKind.BUCKET, target="photos", created_at=ago(days=1))


def test_backups_are_chosen_by_type_target_and_time(coffre: Coffre, account: Account, photos: Any) -> None:
    newest = account.backup(created_at=ago(hours=1))

    assert ids(coffre, "--type", "buckets") == [photos.id]
    assert ids(coffre, "--type", "DATABASE", "--since", "2d") == [newest.id]
    assert ids(coffre, "--target", "photos") == ids(coffre, "photos") == ids(coffre, "photos", "--target", "photos")
    assert ids(coffre, "--since", "2d") == [newest.id, photos.id]
    assert ids(coffre, "shop", "--since", f"{ago(days=11):%Y-%m-%d}", "--limit", "1") == [newest.id]
    assert coffre("list", "--type", "buckets", "--since", "1h").out == "No backups of buckets since 1h.\n"
    assert coffre("list", "--type", "database", "--status", "failed").out == "No FAILED backups of databases.\n"


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(coffre: Coffre, account: Account) -> None:
    made = [account.backup().id for _ in range(2)]
    key = spoil("BACKUP", "created_at")

    said = coffre("list", "--json")

    assert [one["id"] for one in said.json()] == made[:1]
    assert said.status == 4
    assert f'The catalog\'s record "{key}" is damaged.' in said.err
    counted = coffre("list", "--stats")
    assert counted.out.startswith("1 backup: 1 COMPLETED")
    assert counted.status == 4
    assert key in counted.err
    assert coffre("list", "--stats", "--json").json()["unread"] == 1


def test_where_no_record_can_be_read_the_first_backup_is_not_asked_for(coffre: Coffre, account: Account) -> None:
    account.backup()
    spoil("BACKUP", "created_at")

    said = coffre("list", "shop")

    assert (said.status, said.out) == (4, "No other backups of shop.\n")


def test_when_a_backup_began_counts_and_not_the_time_in_an_id_that_was_chosen(coffre: Coffre, account: Account) -> None:
    noon = datetime(2026, 10, 2, 12, tzinfo=UTC)
    early, late = (str(ULID.from_datetime(noon + timedelta(hours=hours))) for hours in (-10, 10))
    account.backup(id=early, created_at=noon + timedelta(minutes=1))
    account.backup(id=late, created_at=noon - timedelta(minutes=1))

    assert ids(coffre, "--since", "2026-10-02T12:00Z") == [early]


def test_every_page_is_read_when_all_are_asked_for(coffre: Coffre, account: Account) -> None:
    made = [account.backup(Status.FAILED).id for _ in range(130)]

    assert ids(coffre, "--limit", "0") == made[::-1]
    assert ids(coffre, "--limit", "125") == made[:4:-1]
    assert ids(coffre) == made[:-21:-1]
    assert coffre("list").out.splitlines()[-1] == "Older ones are not shown: --limit 100"
    assert "Older" not in coffre("list", "--limit", "0").out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--type", "bucket"), "'bucket' is not one of 'database', 'buckets'"),
        (("--since", "soon"), "--since soon is neither a span nor a time"),
        (("--since", "0d"), "--since 0d is neither a span nor a time"),
        (("--limit", "-1"), "should be greater than or equal to 0"),
        (("shop", "--target", "photos"), "TARGET is shop, and --target is photos"),
    ],
)
def test_a_bad_value_is_one_clear_error(
    coffre: Coffre, account: Account, wrong: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    said = coffre("list", *wrong)

    assert (said.status, said.out) == (2, "")
    assert words in said.err


def test_an_unknown_target_is_an_error_when_backups_are_counted_too(coffre: Coffre, account: Account) -> None:
    said = coffre("list", "--target", "nosuch", "--stats")

    assert (said.status, said.out) == (1, "")
    assert "[TARGET_UNKNOWN]" in said.err


# --- statistics ---


@pytest.fixture
def history(account: Account) -> Account:
    """Three backups of shop, one of them damaged; a failure that its repetition made good, and one that stayed."""
    oldest, *_ = [
        account.backup(created_at=ago(hours=hours), slot=f"slot-{number}")
        for number, hours in enumerate((76.5, 52.5, 28.5))
    ]
    account.backup(Status.FAILED, created_at=ago(hours=29.5), slot="slot-2")
    account.backup(Status.FAILED, created_at=ago(hours=4.5), slot="slot-3")
    account.backup(Status.DELETED, created_at=ago(hours=800))
    account.backup(created_at=ago(hours=3.5), tiers=(Tier.SAFETY,), slot="slot-s")
    account.catalog.keeping.mark_damaged(oldest.id, "A pack is gone.", ago(hours=1))
    return account


def test_statistics_count_everything_that_is_asked_for(coffre: Coffre, history: Account) -> None:
    found = coffre("list", "--stats", "--json", "--limit", "1").json()
    newest = next(backup for backup in history.catalog.completed_backups("shop") if not backup.is_safety)

    assert found["version"] == 1
    assert found["backups"] == 7
    assert found["by_status"] == {"IN_PROGRESS": 0, "COMPLETED": 4, "FAILED": 2, "DELETED": 1}
    assert found["damaged"] == 1
    assert (found["plaintext_bytes"], found["stored_bytes"]) == (4 * 5_000_012, 4 * 1_234_567)
    assert found["success_rate_percent"] == 83.33  # five of six: a scheduled time counts once
    assert found["last_backup"]["id"] == newest.id
    assert found["last_backup"].keys() >= PROMISED


def test_a_rate_of_failures_alone_is_none(coffre: Coffre, history: Account) -> None:
    found = coffre("list", "--stats", "--status", "failed", "--json").json()

    assert (found["backups"], found["success_rate_percent"], found["last_backup"]) == (2, None, None)
    assert "success rate  unknown" in coffre("list", "--stats", "--status", "failed").out


def test_without_backups_statistics_are_zero(coffre: Coffre, account: Account) -> None:
    said = coffre("list", "--stats")

    assert (said.status, said.out.splitlines()[0]) == (0, "0 backups")
    assert coffre("list", "--stats", "--json").json()["success_rate_percent"] is None


def test_a_vault_alone_counts_what_it_has(coffre: Coffre, account: Account) -> None:
    account.backup()

    said = coffre("--vault", f"s3://{BUCKET}", "list", "--stats")

    assert said.status == 0
    assert said.out.startswith("1 backup: 1 COMPLETED\n")
    assert "success rate  unknown" in said.out


# --- how it looks ---


@pytest.mark.parametrize("width", snapshots.WIDTHS)
@pytest.mark.parametrize(("name", "arguments"), [("list", ("shop",)), ("list-stats", ("--stats",))])
def test_it_can_be_read_at_every_width(
    coffre: Coffre,
    history: Account,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    arguments: tuple[str, ...],
    width: int,
) -> None:
    history.backup(Status.IN_PROGRESS, tiers=(Tier.MANUAL,), created_at=ago(hours=2.5))
    snapshots.at_terminal(monkeypatch, width)

    printed = coffre("list", *arguments, "--since", "78h").out
    for number, backup in enumerate(history.catalog.backups()):
        printed = printed.replace(backup.id, f"01KB{number:022}")

    snapshots.compare(name, printed, width=width)


def test_without_a_terminal_nothing_but_text_is_printed(coffre: Coffre, history: Account) -> None:
    assert not screen.console.is_terminal
    assert "\x1b" not in coffre("list").out + coffre("list", "--stats").out
