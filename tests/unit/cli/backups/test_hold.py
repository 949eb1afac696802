"""`coffre hold`, `release`, and what `list` and `show` say of holds and locks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Backup, Failure, HoldProgress
from coffre.model.hold import HoldReport
from coffre_cli.commands.backups import hold as hold_command

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_command, "_POLL_SECONDS", 0.01)


def answering(account: Account, *answers: HoldReport) -> None:
    left = list(answers)
    account.play = lambda function, event: left.pop(0).model_dump(mode="json")


def held(backup: Backup, progress: HoldProgress | None = None) -> Backup:
    return backup.model_copy(update={"held_at": NOW, "hold": "case 4711", "hold_progress": progress})


def test_a_hold_names_the_backup_and_the_reason(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    answering(account, HoldReport(backup=held(backup, HoldProgress(done=9, total=9)), legal_holds=True, objects=9))

    said = coffre("hold", backup.id[-6:], "--reason", "case 4711")

    [(function, event)] = account.invoked
    assert function == "safe-rotate"
    assert (event["hold"], event["reason"]) == (backup.id, "case 4711")
    assert said.status == 0
    assert "neither rotation nor `coffre delete` removes" in said.out
    assert "S3 legal holds are set on 9 objects" in said.out


def test_without_object_lock_a_hold_says_plainly_what_it_is_not(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    answering(account, HoldReport(backup=held(backup)))

    said = coffre("hold", backup.id)

    assert said.status == 0
    words = " ".join(said.out.split())
    assert "a record of Coffre's alone" in words
    assert "Every role that may delete from the bucket still can" in words
    assert "reason" not in account.invoked[0][1]


def test_a_hold_that_needs_more_time_is_continued(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    answering(
        account,
        HoldReport(backup=held(backup), legal_holds=True, objects=1000, unfinished="1,000 of 1,500 objects are done"),
        HoldReport(backup=held(backup, HoldProgress(done=1500, total=1500)), legal_holds=True, objects=500),
    )

    said = coffre("hold", backup.id)

    assert said.status == 0
    assert len(account.invoked) == 2
    assert "1,000 of 1,500" in said.err


def test_a_hold_that_does_not_get_further_fails_and_says_that_the_backup_is_on_hold(
    coffre: Coffre, account: Account
) -> None:
    backup = account.backup()
    answering(account, HoldReport(backup=held(backup), legal_holds=True, unfinished="0 of 9 objects are done: denied"))

    said = coffre("hold", backup.id)

    assert said.status != 0
    assert "HOLD_UNFINISHED" in said.err
    assert "The backup is on hold" in said.err


def test_a_refusal_is_shown_with_its_code_and_what_to_do(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    answering(account, HoldReport(failure=Failure(code="HOLD_BUSY", message="Another hold is set.", hint="Repeat it.")))

    said = coffre("hold", backup.id)

    assert said.status != 0
    assert "HOLD_BUSY" in said.err
    assert "Repeat it." in said.err


@pytest.mark.parametrize("reason", ["", "x" * 257, "two\nlines", "\x1b[31mred"])
def test_a_reason_is_one_printable_line(coffre: Coffre, account: Account, reason: str) -> None:
    backup = account.backup()

    said = coffre("hold", backup.id, "--reason", reason)

    assert said.status == 2
    assert account.invoked == []


def test_a_release_says_what_keeps_its_hold(coffre: Coffre, account: Account) -> None:
    backup = account.backup(held_at=NOW, hold="case 4711")
    answering(account, HoldReport(backup=backup.model_copy(update={"held_at": None, "hold": None}), shared=2))

    said = coffre("release", backup.id)

    assert account.invoked[0][1]["release"] == backup.id
    assert "Not on hold any more" in said.out
    assert "2 objects keep their legal hold" in " ".join(said.out.split())


def test_a_release_of_a_backup_that_is_not_on_hold_changes_nothing(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    answering(account, HoldReport(backup=backup))

    assert "was not on hold" in coffre("release", backup.id).out


def test_list_and_show_say_hold_and_lock_and_scripts_read_them(coffre: Coffre, account: Account) -> None:
    account.backup()
    locked = account.backup(
        locked_until=datetime(2027, 3, 4, tzinfo=UTC),
        held_at=NOW - timedelta(days=1),
        hold="case 4711",
        hold_progress=HoldProgress(done=3, total=9, refused=(0,)),
    )

    listed = " ".join(coffre("list").out.split())
    assert "on hold" in listed
    assert "LOCKED" in listed
    shown = " ".join(coffre("show", locked.id).out.split())
    assert "on hold since" in shown
    assert "case 4711; S3 legal holds on 3 of 9 objects, some of which were refused: coffre hold" in shown
    assert "locked until 2027-03-04 00:00 UTC" in shown
    record: Mapping[str, Any] = coffre("list", "--json").json()[0]
    assert record["locked_until"] == "2027-03-04T00:00:00Z"
    assert record["hold"] == "case 4711"
    assert record["hold_progress"] == {"released": False, "done": 3, "total": 9, "refused": [0]}


def test_a_list_without_locks_has_no_column_for_them(coffre: Coffre, account: Account) -> None:
    account.backup()
    assert "LOCKED" not in coffre("list").out
