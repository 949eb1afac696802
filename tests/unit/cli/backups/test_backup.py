"""`coffre backup database`: what is started, what is said, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Status, Tier
from coffre.model.server import SeenDatabase
from coffre_cli import follow


def completing(account: Account, **fields: Any) -> None:
    account.play = lambda function, event: (
        account.backup(id=event["backup_id"], target=event["target"], tiers=(Tier.MANUAL,), **fields) and None
    )


def test_a_backup_is_started_followed_and_reported(coffre: Coffre, account: Account) -> None:
    completing(account, notes=("extension table spatial_ref_sys is left out",))

    said = coffre("backup", "database")

    [(function, event)] = account.invoked
    assert function == "safe-backup-database"
    assert {name: event[name] for name in ("target", "tier")} == {"target": "shop", "tier": "MANUAL"}
    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "Backed up shop: 2 tables, 1,003 rows, 5.0 MB in 12.3 s; 1.2 MB stored.\n"
        "  Note: extension table spatial_ref_sys is left out\n"
        "To restore it into a new database:\n"
        f"  coffre restore database {event['backup_id']} --to postgresql://USER@HOST/NEW\n"
    )


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_backup_with_exceptions_exits_with_4(coffre: Coffre, account: Account, how: tuple[str, ...]) -> None:
    completing(account, exceptions=("The roles are not in the backup.",), notes=("2 of 4 streams were used.",))

    said = coffre("backup", "database", "shop", *how)

    assert said.status == 4
    if not how:
        assert "  Exception: The roles are not in the backup.\n  Note: 2 of 4 streams were used.\n" in said.out


def test_json_for_one_target_is_one_object(coffre: Coffre, account: Account) -> None:
    completing(account)

    said = coffre("backup", "database", "shop", "--json")

    [(_, event)] = account.invoked
    shown = said.json()
    assert (said.status, said.err) == (0, "")
    assert (shown["id"], shown["target"], shown["status"], shown["tiers"]) == (
        event["backup_id"],
        "shop",
        "COMPLETED",
        ["MANUAL"],
    )
    assert {"plaintext_bytes", "stored_bytes", "duration_ms", "tables", "rows"} <= set(shown)


def test_without_a_target_every_one_is_started_and_json_is_a_list(coffre: Coffre, account: Account) -> None:
    account.configure("shop", "blog")
    completing(account)

    shown = coffre("backup", "database", "--json").json()

    assert [backup["target"] for backup in shown] == ["shop", "blog"]


def test_the_databases_of_a_server_are_found_by_the_function_and_followed(coffre: Coffre, account: Account) -> None:
    account.configure("blog")
    account.configure_server("shop")

    def play(function: str, event: Mapping[str, Any]) -> object:
        if event["target"] != "shop":
            return account.backup(id=event["backup_id"], target=event["target"], tiers=(Tier.MANUAL,)) and None
        ids = {name: account.backup(target=name, tiers=(Tier.MANUAL,)).id for name in ("shop-a", "shop-b")}
        return {"server": "shop", "started": list(ids), "backups": ids}

    account.play = play

    one, every = coffre("backup", "database", "shop", "--json"), coffre("backup", "database", "--keep", "7d")

    assert (one.status, [found["target"] for found in one.json()]) == (0, ["shop-a", "shop-b"])
    assert [event["target"] for _, event in account.invoked] == ["shop", "blog", "shop"]
    assert "backup_id" not in account.invoked[0][1]
    assert account.invoked[2][1]["keep"] == "7d"
    assert [line.split(":")[0] for line in every.out.splitlines() if line.startswith("Backed up")] == [
        "Backed up blog",
        "Backed up shop-a",
        "Backed up shop-b",
    ]


def test_a_server_is_no_target_to_list_and_its_databases_are(coffre: Coffre, account: Account) -> None:
    account.configure_server("shop")
    unknown = coffre("list", "shop")
    account.catalog.servers.add(SeenDatabase("shop-a", "shop", "a", datetime.now(UTC)))

    known = coffre("list", "shop")

    assert (unknown.status, known.status) == (0, 1)
    assert '"shop" is a server: each of its databases is a target.' in known.err
    assert "Name one of them: shop-a" in known.err
    assert coffre("list", "shop-a").status == 0


def test_a_failed_backup_says_why_and_fails(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: account.backup(Status.FAILED, id=event["backup_id"]) and None

    said = coffre("backup", "database", "shop")

    assert said.status == 1
    assert "failed. Nothing was published; older backups are untouched." in said.out
    assert (
        said.err == "Error: The server refuses the password. [AUTHENTICATION_FAILED]\nWhat to do: Update the secret.\n"
    )


def test_a_failed_backup_is_json_for_scripts_and_words_on_stderr(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: account.backup(Status.FAILED, id=event["backup_id"]) and None

    said = coffre("backup", "database", "shop", "--json")

    assert (said.status, said.json()["status"]) == (1, "FAILED")
    assert "What to do: Update the secret." in said.err


def test_one_broken_target_does_not_hide_the_others(coffre: Coffre, account: Account) -> None:
    account.configure("broken", "shop")

    def play(function: str, event: Mapping[str, Any]) -> None:
        status = Status.FAILED if event["target"] == "broken" else Status.COMPLETED
        account.backup(status, id=event["backup_id"], target=event["target"])

    account.play = play

    said = coffre("backup", "database", "--json")

    assert said.status == 1
    assert [(backup["target"], backup["status"]) for backup in said.json()] == [
        ("broken", "FAILED"),
        ("shop", "COMPLETED"),
    ]


@pytest.fixture
def busy(account: Account) -> str:
    """Another run of the target is going on: the function says so in an audit event, and writes no record."""
    reason = "backup 01K9X of shop is already running, since 2026-11-22 02:00:00 UTC"

    def play(function: str, event: Mapping[str, Any]) -> None:
        account.catalog.audit.record(
            datetime.now(UTC), "backup", "backup.skipped", event["target"], event["backup_id"], reason
        )

    account.play = play
    return reason


def test_a_skipped_backup_has_a_status_of_its_own(coffre: Coffre, account: Account, busy: str) -> None:
    said = coffre("backup", "database", "shop")

    assert (said.status, said.out, said.err) == (3, "", f"Skipped: {busy}.\n")


def test_a_skipped_backup_is_null_for_scripts(coffre: Coffre, account: Account, busy: str) -> None:
    said = coffre("backup", "database", "shop", "--json")

    assert (said.status, said.json()) == (3, None)
    assert coffre("backup", "database", "--json").json() == []


def test_an_unknown_target_is_named_before_anything_starts(coffre: Coffre, account: Account) -> None:
    said = coffre("backup", "database", "shp")

    assert (said.status, said.out, account.invoked) == (1, "", [])
    assert said.err == (
        'Error: There is no database target "shp". [TARGET_UNKNOWN]\n'
        "  Configured database targets: shop\n"
        "What to do: Check the name's spelling.\n"
    )


def test_backups_without_encryption_are_warned_about(coffre: Coffre, account: Account) -> None:
    account.configure("shop", encryption="none")
    completing(account)

    assert "backups are NOT encrypted" in coffre("backup", "database").err


def test_a_function_that_never_starts_is_told(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_START_SECONDS", 0.0)

    said = coffre("backup", "database", "shop")

    assert said.status == 1
    assert "wrote no record for a minute. [RUN_NOT_STARTED]" in said.err
    assert "What to do: Look at its log group" in said.err


def test_a_run_whose_heartbeat_stopped_is_told(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_SILENT_SECONDS", 0.0)
    account.play = lambda function, event: (
        account.backup(Status.IN_PROGRESS, id=event["backup_id"], request_id="request-7") and None
    )

    said = coffre("backup", "database", "shop")

    assert said.status == 1
    assert "it is dead. [RUN_DIED]" in said.err
    assert "request-7" in said.err


def test_a_run_that_was_handed_over_is_not_dead_until_its_next_invocation_is_late(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_SILENT_SECONDS", 0.0)
    clock, looks = SimpleNamespace(now=1000.0), 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks, clock.now = looks + 1, clock.now + 60

    monkeypatch.setattr("coffre_cli.follow.time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    until = datetime.now(UTC) + timedelta(minutes=5)
    account.play = lambda function, event: (
        account.backup(Status.IN_PROGRESS, id=event["backup_id"], heartbeat_at=until) and None
    )

    said = coffre("backup", "database", "shop")

    assert "it is dead. [RUN_DIED]" in said.err
    assert looks >= 5


def test_ctrl_c_leaves_the_run_alone_and_says_so(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre_cli.follow.time.sleep", press)
    account.play = lambda function, event: account.backup(Status.IN_PROGRESS, id=event["backup_id"]) and None

    said = coffre("backup", "database", "shop")

    [(_, event)] = account.invoked
    assert (said.status, said.out) == (130, "")
    assert said.err == f"Interrupted. The run continues in the stack: coffre show {event['backup_id']}\n"


# --- for how long ---


@pytest.mark.parametrize("command", [("database", "shop"), ("database",)])
def test_a_backup_can_be_kept_for_a_time(coffre: Coffre, account: Account, command: tuple[str, ...]) -> None:
    completing(account, expires_at=datetime(2026, 12, 5, 3, tzinfo=UTC))

    said = coffre("backup", *command, "--keep", "7d")

    ((_, event),) = account.invoked
    assert (said.status, event["keep"]) == (0, "7d")
    assert "It is kept until 2026-12-05 03:00 UTC, then rotation deletes it.\n" in said.out
    assert all(f" {word}" in coffre("list").out for word in ("manual", "until", "5", "Dec", "2026"))
    assert "  kept      until 2026-12-05 03:00:00 UTC" in coffre("show", "latest").out
    assert coffre("list", "--json").json()[0]["expires_at"] == "2026-12-05T03:00:00Z"


@pytest.mark.parametrize("wrong", ["7", "0d", "-1d", "1y", "7 days", "", "999999w"])
def test_a_time_that_is_none_is_wrong_usage(coffre: Coffre, account: Account, wrong: str) -> None:
    said = coffre("backup", "database", "shop", "--keep", wrong)

    assert (said.status, account.invoked) == (2, [])
    assert "12h, 7d, 4w" in said.err
