"""`coffre cost`, and the line of `coffre show`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.unit.cli.conftest import Account, Coffre
from ulid import ULID

from coffre.model.usage import Job, Usage
from coffre.policy.cost import KINDS
from coffre_cli.commands.backups import cost
from coffre_cli.commands.journal import price

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)  # half of it


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_now", lambda: NOW)
    monkeypatch.setattr(price, "_now", lambda: NOW)


@pytest.fixture
def used(account: Account) -> str:
    """Two backups: of one it is recorded what it used; return its id."""
    account.backup(created_at=NOW - timedelta(days=2))
    counted = account.backup(created_at=NOW - timedelta(days=1))
    account.catalog.usages.add(
        Usage(
            id=counted.id,
            job=Job.BACKUP,
            target="shop",
            at=counted.created_at,
            invocations=1,
            function_mb_ms=3_008 * 60_000,
            vault_writes=1_000,
        )
    )
    return counted.id


def test_a_month_is_shown_with_its_parts_and_what_changes_would_cost(coffre: Coffre, used: str) -> None:
    said = coffre("cost")

    assert said.status == 0, said.err
    first, second, kinds, heads, shop, *rest = said.out.splitlines()
    assert first == "About $0.0087 in October 2026 until now, about $0.017 for the whole month."
    assert second.endswith("a month for each protected GB.")
    assert kinds.startswith("By kind: function $0.0035, requests $0.0050, storage $0.0000")
    assert heads.split() == ["TARGET", "RUNS", "FUNCTION", "REQUESTS", "STORAGE", "OTHER", "TOTAL"]
    assert shop.split()[:2] == ["shop", "2"]
    assert any(line.startswith("backups hourly") and "+$" in line for line in rest)
    assert any(line.startswith("another copy in another region") for line in rest)
    assert "Of 1 run no counts were recorded: estimated from size and duration." in rest


def test_what_a_journal_costs_is_said_before_and_after_it_is_switched_on(
    coffre: Coffre, account: Account, used: str
) -> None:
    assumed = "A journal, drained every 5 minutes, would add about $1."
    [line] = [line for line in coffre("cost").out.splitlines() if line.startswith("A journal")]
    assert line.startswith(assumed)
    assert line.endswith(" a month (3,538 MB for a second, 2 writes and 2 reads a drain).")

    began = account.catalog.get_backup(used).created_at
    account.catalog.usages.add(
        Usage(
            id=str(ULID.from_datetime(began)),
            job=Job.JOURNAL,
            target="shop",
            at=began,
            invocations=288,
            function_mb_ms=288 * 3_538_000,
        )
    )

    counted = "Journals, of it, for a whole month and without storage: about shop $"
    [amount] = [
        line.removeprefix(counted).removesuffix(".")
        for line in coffre("cost").out.splitlines()
        if line.startswith(counted)
    ]
    (target,) = coffre("cost", "shop", "--json").json()["targets"]
    assert 0 < Decimal(target["journal"]) < Decimal(target["cost"]["function"]) + Decimal(target["cost"]["catalog"])

    # And the same where the journal is looked at
    account.configure_journal("shop", every_minutes=10)
    for said in (coffre("journal", "list"), coffre("journal", "list", "shop")):
        words = " ".join(said.out.split())
        assert "168 connections to the server a day (a drain each 10 minutes)" in words
        assert f"about ${amount} a month (as counted this month)" in words


def test_scripts_get_exact_amounts_that_add_up(coffre: Coffre, used: str) -> None:
    found = coffre("cost", "shop", "--json").json()

    (target,) = found["targets"]
    assert target["target"] == "shop"
    assert sum(Decimal(target["cost"][kind]) for kind in KINDS) == Decimal(found["total"])
    assert (found["currency"], found["estimated_runs"], found["prices"]["region"]) == ("USD", 1, "eu-west-1")


def test_one_frequency_is_asked_for(coffre: Coffre, used: str) -> None:
    rows = [change["name"] for change in coffre("cost", "--every", "6h", "--json").json()["changes"]]

    assert rows == ["backups every 6h"]


def test_a_stack_that_has_not_run_costs_nothing(coffre: Coffre, account: Account) -> None:
    said = coffre("cost", "--month", "2026-09")

    assert said.status == 0
    assert said.out.startswith("About $0.00 in September 2026.\n")


def test_copies_are_counted_with_their_target(coffre: Coffre, account: Account) -> None:
    """What the function `copy` recorded of its run: requests at both sides, and what left the region."""
    account.catalog.usages.add(
        Usage(
            id=str(ULID.from_datetime(NOW - timedelta(days=1))),
            job=Job.COPY,
            target="shop",
            at=NOW - timedelta(days=1),
            invocations=1,
            function_mb_ms=1_024 * 60_000,
            vault_reads=10_000,
            source_writes=20_000,
        )
    )

    (target,) = coffre("cost", "--json").json()["targets"]

    assert (target["target"], target["runs"]) == ("shop", 1)
    assert Decimal(target["cost"]["function"]) > 0
    # Ten thousand reads of the vault, and twenty thousand writes into the copy
    assert Decimal(target["cost"]["requests"]) == Decimal("0.104")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--month", "November"), "is no month: write it as 2026-11"),
        (("--month", "2026-11"), "has not begun"),
        (("--every", "5m"), "is no frequency"),
        (("--every", "often"), "is no frequency"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(
    coffre: Coffre, account: Account, arguments: tuple[str, ...], words: str
) -> None:
    said = coffre("cost", *arguments)

    assert said.status == 2
    assert words in " ".join(said.err.replace("│", " ").split())


def test_a_target_that_does_not_exist_is_named(coffre: Coffre, account: Account) -> None:
    said = coffre("cost", "shopp")

    assert said.status == 1
    assert "shopp" in said.err


def test_show_says_what_a_backup_cost(coffre: Coffre, account: Account, used: str) -> None:
    assert "  cost      about $0.0080 without storage (function $0.0029, requests $0.0050" in coffre("show", used).out

    old = account.backup()
    assert "estimated from its size and duration" in coffre("show", old.id).out


def test_show_says_what_all_functions_of_a_backup_used_together(coffre: Coffre, account: Account, used: str) -> None:
    for _ in range(3):
        account.catalog.usages.add(
            Usage(
                id=used,
                job=Job.BACKUP,
                target="shop",
                at=NOW,
                invocations=1,
                function_mb_ms=1_024 * 100_000,
                vault_writes=10,
                vault_sent_bytes=700_000_000,
                transitions=1_000,
            )
        )

    shown, found = coffre("show", used).out, coffre("show", used, "--json").json()["usage"]

    assert "  used      476 GB-s in 4 invocations, 3,000 transitions, 1,030 requests, 2.1 GB sent\n" in shown
    assert "machine $0.075)" in shown
    assert (found["invocations"], found["transitions"], found["estimated"]) == (4, 3_000, False)
    assert Decimal(found["cost"]["machine"]) == Decimal("0.075")
    assert sum(Decimal(found["cost"][kind]) for kind in KINDS) == Decimal(found["cost"]["total"])


def test_show_says_what_a_restore_cost_if_it_is_known(coffre: Coffre, account: Account) -> None:
    restore = account.restore(backup_id=account.backup().id)
    assert "  cost " not in coffre("show", restore.id).out

    account.catalog.usages.add(
        Usage(id=restore.id, job=Job.RESTORE, target="shop", at=restore.created_at, invocations=1, vault_reads=1_000)
    )

    assert "  cost      about $0.0004" in coffre("show", restore.id).out
