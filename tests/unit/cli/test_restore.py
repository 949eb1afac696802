"""`coffre restore`: what is refused before anything starts, where the destination is kept, what is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.unit.cli.conftest import FAILURE, Account, Coffre

from coffre.model.backup import Failure, Status
from coffre_cli.deployed import DeployedStack

PASSWORD = "pa55%2Fword"
URL = f"postgresql://me:{PASSWORD}@db.example:5433/copy"


def completing(account: Account) -> list[str]:
    """Play a restore that works, and note what the secret of the destination held meanwhile."""
    seen: list[str] = []

    def play(function: str, event: Mapping[str, Any]) -> None:
        if event["destination"] in account.secret_names():
            seen.append(account.secrets.get_secret_value(SecretId=event["destination"])["SecretString"])
        account.restore(id=event["restore_id"], backup_id=event["backup_id"])

    account.play = play
    return seen


def test_a_restore_is_started_followed_and_reported(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    seen = completing(account)

    said = coffre("restore", backup.id, "--to", URL)

    [(function, event)] = account.invoked
    assert function == "safe-restore"
    assert event["backup_id"] == backup.id
    assert event["destination"] == f"coffre/destination/{event['restore_id']}"
    assert seen == [URL]
    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "Restored shop in db.example:5432/copy: 2 tables, 1,003 rows in 2.5 s. Row counts equal the backup's.\n"
        "Table by table:\n"
        f"  coffre show {event['restore_id']}\n"
    )


def test_scripts_get_the_promised_names(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    completing(account)

    shown = coffre("restore", "latest", "--to", URL, "--json").json()

    assert {name: shown[name] for name in ("status", "tables", "rows", "duration_ms", "exceptions")} == {
        "status": "COMPLETED",
        "tables": 2,
        "rows": 1003,
        "duration_ms": 2500,
        "exceptions": [],
    }
    assert (shown["id"], shown["backup_id"]) == (account.invoked[0][1]["restore_id"], backup.id)


def test_the_temporary_secret_is_gone_afterwards(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    completing(account)
    coffre("restore", backup.id, "--to", URL)
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id) and None
    )

    failed = coffre("restore", backup.id, "--to", URL)

    assert failed.status == 1
    assert account.secret_names() == []


def test_the_temporary_secret_is_gone_after_ctrl_c_too(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre_cli.follow.time.sleep", press)
    backup = account.backup()

    said = coffre("restore", backup.id, "--to", URL)

    assert said.status == 130
    assert account.secret_names() == []


def test_a_variable_can_hold_the_address(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION", URL)
    backup = account.backup()
    seen = completing(account)

    assert coffre("restore", backup.id, "--to", "env:DESTINATION").status == 0
    assert seen == [URL]


@pytest.mark.parametrize(
    "reference",
    [
        "coffre/destination/copy",
        "coffre/database/shop",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:coffre/destination/copy-AbCdEf",
    ],
)
def test_a_secret_of_ones_own_is_passed_on_and_stays(coffre: Coffre, account: Account, reference: str) -> None:
    account.secrets.create_secret(Name="coffre/destination/copy", SecretString=URL)
    backup = account.backup()
    completing(account)

    said = coffre("restore", backup.id, "--to", reference)

    assert said.status == 0
    assert account.invoked[0][1]["destination"] == reference
    assert account.secret_names() == ["coffre/destination/copy"]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("shop", "no address of a database in --to"),
        ("another/secret", "no address of a database in --to"),
        ("arn:aws:secretsmanager:eu-west-1:111122223333:secret:other-AbCdEf", "no address of a database in --to"),
        ("mysql://me:pa55@db.example/copy", "no address of a database in --to"),
        ("", "it is empty"),
        ("postgresql://db.example/copy", "the URL has no user"),
        ("postgresql://me:pa55@db.example", "the URL has no database"),
        ("postgresql://me:pa55/x@db.example/copy", "percent-encode special characters"),
        ("postgresql://me:pa55@db.example/copy?colour=red", "unknown URL option"),
        ("env:NOT_SET", "no address of a database in the variable NOT_SET"),
        ("env:HOLDS_A_NAME", "no address of a database in the variable HOLDS_A_NAME"),
    ],
)
def test_what_is_no_address_is_refused_before_anything_starts(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, to: str, why: str
) -> None:
    monkeypatch.setenv("HOLDS_A_NAME", "coffre/destination/copy")
    backup = account.backup()

    said = coffre("restore", backup.id, "--to", to)

    assert (said.status, said.out, account.invoked, account.secret_names()) == (1, "", [], [])
    assert why in said.err
    assert "What to do: Give postgresql://USER:PASSWORD@HOST:5432/NEW_DATABASE, a variable" in said.err
    assert "pa55" not in said.err


@pytest.mark.parametrize(
    ("host", "instead"),
    [
        ("aws-0-eu-west-1.pooler.supabase.com:6543", "with port 5432"),
        ("ep-cool-name-pooler.eu-central-1.aws.neon.tech", "host ep-cool-name.eu-central-1.aws.neon.tech"),
    ],
)
def test_a_transaction_pooler_is_refused_with_what_to_use_instead(
    coffre: Coffre, account: Account, host: str, instead: str
) -> None:
    backup = account.backup()

    said = coffre("restore", backup.id, "--to", f"postgresql://me:pa55@{host}/copy")

    assert (said.status, account.invoked, account.secret_names()) == (1, [], [])
    assert "a restore needs a session. [TRANSACTION_POOLER]" in said.err
    assert instead in said.err
    assert said.err.endswith("Change it in --to.\n")
    assert "secret" not in said.err


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (Status.FAILED, f"it failed ({FAILURE.code}: {FAILURE.message})"),
        (Status.IN_PROGRESS, "it is still running"),
        (Status.DELETED, "it was deleted"),
    ],
)
def test_a_backup_that_is_none_is_refused_before_anything_starts(
    coffre: Coffre, account: Account, status: Status, why: str
) -> None:
    backup = account.backup(status)

    said = coffre("restore", backup.id, "--to", URL)

    assert (said.status, account.invoked, account.secret_names()) == (1, [], [])
    assert f"Backup {backup.id} of shop cannot be restored: {why}" in said.err
    assert "What to do: Choose a COMPLETED one: coffre list shop --status COMPLETED" in said.err


def test_an_unknown_backup_is_refused(coffre: Coffre, account: Account) -> None:
    said = coffre("restore", "01K9X000000000000000000000", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert "[BACKUP_UNKNOWN]" in said.err


def test_latest_without_a_backup_says_how_to_take_one(coffre: Coffre, account: Account) -> None:
    said = coffre("restore", "latest", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert said.err == (
        'Error: There is no completed backup of "shop" yet. [BACKUP_UNKNOWN]\n'
        "What to do: Take one: coffre backup database shop\n"
    )


def test_an_id_of_another_target_is_refused(coffre: Coffre, account: Account) -> None:
    backup = account.backup(target="blog")

    said = coffre("restore", backup.id, "--target", "shop", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert f"Backup {backup.id} is of blog, not of shop." in said.err


def test_a_destination_in_use_is_answered_with_a_command_that_works(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    failure = Failure(code="DESTINATION_NOT_EMPTY", message="It is not empty.", hint="Nothing was changed.")
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id, failure=failure) and None
    )

    said = coffre("restore", backup.id, "--to", URL)

    assert said.status == 1
    assert "The restore of shop failed. The backup itself is untouched.\n" in said.out
    assert said.out.endswith(f"  coffre restore {backup.id} --to postgresql://me@db.example:5433/copy_restored\n")
    assert PASSWORD not in said.out + said.err


def test_a_failure_about_the_secret_says_that_it_came_from_to(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id) and None
    )

    said = coffre("restore", backup.id, "--to", URL)

    assert said.err.endswith("(The function found the address in a secret; here it came from --to.)\n")
    assert coffre("restore", backup.id, "--to", URL, "--json").json()["status"] == "FAILED"


def test_without_the_right_to_keep_the_address_nothing_starts(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = account.backup()

    class Forbidden:
        def create_secret(self, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "CreateSecret")

    monkeypatch.setattr(DeployedStack, "secrets", Forbidden())

    said = coffre("restore", backup.id, "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert "[SECRET_NOT_WRITTEN]" in said.err
    assert "secretsmanager:CreateSecret" in said.err
    assert PASSWORD not in said.err


@pytest.mark.parametrize("arguments", [(), ("latest",), ("--to", URL)])
def test_both_the_backup_and_the_destination_have_to_be_said(
    coffre: Coffre, account: Account, arguments: tuple[str, ...]
) -> None:
    said = coffre("restore", *arguments)

    assert said.status == 2
    assert "Usage: coffre restore" in said.err
