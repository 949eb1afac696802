"""A target that does not exist is an error in every command, never an empty answer: that looks like total loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Status

EVERY_COMMAND = [
    ("list", "nosuch"),
    ("list", "nosuch", "--status", "failed"),
    ("list", "nosuch", "--json"),
    ("show", "latest", "--target", "nosuch"),
    ("show", "2026-11-17", "--target", "nosuch"),
    ("ls", "latest", "--target", "nosuch"),
    ("cat", "latest", "orders", "--target", "nosuch"),
    ("diff", "latest", "latest", "--target", "nosuch"),
    ("restore", "tables", "latest", "orders", "--target", "nosuch"),
    ("export", "latest", "--target", "nosuch"),
    ("report", "latest", "--target", "nosuch"),
    ("verify", "--target", "nosuch"),
    ("verify", "latest", "--target", "nosuch"),
    ("verify", "--level", "inventory", "--target", "nosuch"),
    ("verify", "--level", "read", "--target", "nosuch"),
    ("verify", "--level", "drill", "--target", "nosuch"),
    ("rotate", "nosuch"),
    ("alerts", "list", "nosuch"),
    ("backup", "database", "nosuch"),
    ("backup", "buckets", "nosuch"),
]
# What these commands need besides an id.
TABLE = {"restore tables": ("orders",), "cat": ("orders",)}


@pytest.fixture(autouse=True)
def two_targets(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database and buckets with backups, and a database that is not configured any more."""
    monkeypatch.chdir(tmp_path)
    account.configure_buckets("files", "files")
    account.backup()
    account.backup(Status.FAILED, target="old-shop")


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_an_unknown_target_is_an_error_that_names_the_known_ones(
    coffre: Coffre, account: Account, command: tuple[str, ...]
) -> None:
    said = coffre(*command)

    assert (said.status, said.out) == (2 if command[0] == "diff" else 1, "")
    assert '"nosuch"' in said.err
    assert "[TARGET_UNKNOWN]" in said.err
    assert ("files" if command[:2] == ("backup", "buckets") else "shop") in said.err
    assert account.invoked == []


@pytest.mark.parametrize("command", ["show", "ls", "cat", "export", "report", "verify", "restore tables"])
def test_an_id_beside_an_unknown_target_is_an_error_too(coffre: Coffre, account: Account, command: str) -> None:
    backup = account.backup()

    said = coffre(*command.split(), backup.id, *TABLE.get(command, ()), "--target", "nosuch")

    assert said.status == 1
    assert account.invoked == []


@pytest.mark.parametrize("command", ["show", "ls", "cat", "export", "report", "verify", "restore tables"])
def test_an_id_of_another_target_is_refused(coffre: Coffre, account: Account, command: str) -> None:
    backup = account.backup()

    said = coffre(*command.split(), backup.id, *TABLE.get(command, ()), "--target", "files")

    assert said.status == 1
    assert account.invoked == []


def test_targets_that_are_no_longer_configured_are_known_and_named(coffre: Coffre, account: Account) -> None:
    assert "old-shop" in coffre("list", "old-shop").out
    assert "Configured targets: files, shop. With backups, though no longer configured: old-shop." in " ".join(
        coffre("list", "nosuch").err.split()
    )


def test_a_configured_target_without_backups_is_told_how_to_take_one(coffre: Coffre, account: Account) -> None:
    said = coffre("list", "files")

    assert (said.status, said.out) == (0, "No backups of files yet. Take one:\n  coffre backup buckets files\n")
    assert coffre("alerts", "list", "files").status == 0
    assert coffre("alerts", "list", "-").status == 0
