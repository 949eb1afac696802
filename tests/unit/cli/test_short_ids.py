"""A part of an id is enough where it means one run."""

from __future__ import annotations

import pytest
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.planning import deciding

from coffre.model.backup import Backup, Restore

FIRST, SECOND, OTHER = "01K9XAAAAAAAAAAAAAAAAAAAB1", "01K9XAAAAAAAAAAAAAAAAAAAC2", "01K9YAAAAAAAAAAAAAAAAAAAC3"
RESTORE = "01K9ZAAAAAAAAAAAAAAAAAAAD1"


@pytest.fixture(autouse=True)
def runs(account: Account) -> tuple[list[Backup], Restore]:
    deciding(account)
    backups = [account.backup(id=one) for one in (FIRST, SECOND, OTHER)]
    return backups, account.restore(id=RESTORE, backup_id=FIRST)


@pytest.mark.parametrize(
    ("part", "whole"),
    [(FIRST, FIRST), ("01K9Y", OTHER), ("AB1", FIRST), ("c2", SECOND), ("01k9xaaaaaaaaaaaaaaaaaaac", SECOND)],
)
@pytest.mark.parametrize("command", [("show",), ("pin",), ("unpin",), ("delete", "-y")], ids=lambda it: it[0])
def test_a_part_that_means_one_backup_is_enough(
    coffre: Coffre, account: Account, command: tuple[str, ...], part: str, whole: str
) -> None:
    assert coffre(*command, part, "--json").json()["id"] == whole


def test_a_restore_is_found_by_a_part_too(coffre: Coffre, account: Account) -> None:
    assert coffre("show", "01K9Z", "--json").json()["id"] == RESTORE


@pytest.mark.parametrize(
    ("command", "candidates"),
    [
        (("show", "01K9X"), {FIRST, SECOND}),
        (("show", "1"), {FIRST, RESTORE}),
        (("show", "01"), {FIRST, SECOND, OTHER, RESTORE}),
        (("delete", "-y", "01K9"), {FIRST, SECOND, OTHER}),
        (("pin", "01"), {FIRST, SECOND, OTHER}),
        (("verify", "01K9X"), {FIRST, SECOND}),
        (("restore", "tables", "01K9X", "orders"), {FIRST, SECOND}),
        (("export", "01K9X"), {FIRST, SECOND}),
        (("report", "01K9X"), {FIRST, SECOND}),
        (("ls", "01K9X"), {FIRST, SECOND}),
        (("cat", "01K9X", "orders"), {FIRST, SECOND}),
    ],
    ids=lambda it: it[0] if isinstance(it, tuple) else "",
)
def test_a_part_of_several_is_an_error_that_lists_them(
    coffre: Coffre, account: Account, command: tuple[str, ...], candidates: set[str]
) -> None:
    said = coffre(*command)

    assert (said.status, said.out, account.invoked) == (1, "", [])
    assert "[BACKUP_AMBIGUOUS]" in said.err
    assert {one for one in (FIRST, SECOND, OTHER, RESTORE) if f"{one}  shop, COMPLETED" in said.err} == candidates


@pytest.mark.parametrize("command", [("show",), ("delete", "-y"), ("verify",), ("diff", FIRST)], ids=lambda it: it[0])
@pytest.mark.parametrize("part", ["9X", "01K9W", "", f"{FIRST}0"])
def test_a_part_of_none_is_an_unknown_id(coffre: Coffre, account: Account, command: tuple[str, ...], part: str) -> None:
    said = coffre(*command, part)

    assert said.status == (2 if command[0] == "diff" else 1)
    assert "BACKUP_UNKNOWN" in said.err
    assert account.invoked == []
