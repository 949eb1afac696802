"""`coffre restore`: what is refused before anything starts, where the destination is kept, what is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError
from tests.unit.cli.conftest import FAILURE, REGION, Account, Coffre
from tests.unit.cli.planning import NAME, answer_to, at_a_terminal, is_planned, plan_of

from coffre.model.backup import Failure, Status
from coffre.model.errors import StoreError
from coffre.model.kinds import TargetKind
from coffre.model.restore_report import Comparison, Kept
from coffre.runtime.events.restore import RestoreEvent
from coffre.vault.vault import Vault
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

    said = coffre("restore", "database", backup.id, "--to", URL)

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


def test_a_damaged_backup_is_restored_by_its_id_and_it_is_said(coffre: Coffre, account: Account) -> None:
    healthy, damaged = account.backup(), account.backup()
    account.catalog.keeping.mark_damaged(damaged.id, "The pack P is not in the vault.", damaged.created_at)
    completing(account)

    by_id, latest = (
        coffre("restore", "database", damaged.id, "--to", URL),
        coffre("restore", "database", "latest", "--to", URL),
    )

    assert [event["backup_id"] for _, event in account.invoked] == [damaged.id, healthy.id]
    assert "This backup is DAMAGED" in by_id.err
    assert "The pack P is not in the vault." in by_id.err
    assert latest.err == ""


def test_scripts_get_the_promised_names(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    completing(account)

    shown = coffre("restore", "database", "latest", "--to", URL, "--json").json()

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
    coffre("restore", "database", backup.id, "--to", URL)
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id) and None
    )

    failed = coffre("restore", "database", backup.id, "--to", URL)

    assert failed.status == 1
    assert account.secret_names() == []


def test_the_temporary_secret_stays_after_ctrl_c_for_the_run_that_continues(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next invocation of that run reads it; without it, the restore would fail."""

    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre_cli.follow.time.sleep", press)
    backup = account.backup()

    said = coffre("restore", "database", backup.id, "--to", URL)

    assert said.status == 130
    [name] = account.secret_names()
    assert f"aws secretsmanager delete-secret --secret-id {name} --force-delete-without-recovery" in said.err


def test_a_variable_can_hold_the_address(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION", URL)
    backup = account.backup()
    seen = completing(account)

    assert coffre("restore", "database", backup.id, "--to", "env:DESTINATION").status == 0
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

    said = coffre("restore", "database", backup.id, "--to", reference)

    assert said.status == 0
    assert account.invoked[0][1]["destination"] == reference
    assert account.secret_names() == ["coffre/destination/copy"]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("shop", "--to is not a database URL"),
        ("another/secret", "--to is not a database URL"),
        ("arn:aws:secretsmanager:eu-west-1:111122223333:secret:other-AbCdEf", "--to is not a database URL"),
        ("mysql://me:pa55@db.example/copy", "--to is not a database URL"),
        ("", "it is empty"),
        ("postgresql://db.example/copy", "the URL has no user"),
        ("postgresql://me:pa55@db.example", "the URL has no database"),
        ("postgresql://me:pa55/x@db.example/copy", "percent-encode special characters"),
        ("postgresql://me:pa55@db.example/copy?colour=red", "unknown URL option"),
        ("env:NOT_SET", "The variable NOT_SET is not a database URL"),
        ("env:HOLDS_A_NAME", "The variable HOLDS_A_NAME is not a database URL"),
    ],
)
def test_what_is_no_address_is_refused_before_anything_starts(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, to: str, why: str
) -> None:
    monkeypatch.setenv("HOLDS_A_NAME", "coffre/destination/copy")
    backup = account.backup()

    said = coffre("restore", "database", backup.id, "--to", to)

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

    said = coffre("restore", "database", backup.id, "--to", f"postgresql://me:pa55@{host}/copy")

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

    said = coffre("restore", "database", backup.id, "--to", URL)

    assert (said.status, account.invoked, account.secret_names()) == (1, [], [])
    assert f"Backup {backup.id} of shop cannot be restored: {why}" in said.err
    assert "What to do: Choose a COMPLETED one: coffre list shop --status COMPLETED" in said.err


def test_an_unknown_backup_is_refused(coffre: Coffre, account: Account) -> None:
    said = coffre("restore", "database", "01K9X000000000000000000000", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert "[BACKUP_UNKNOWN]" in said.err


def test_latest_without_a_backup_says_how_to_take_one(coffre: Coffre, account: Account) -> None:
    said = coffre("restore", "database", "latest", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert said.err == (
        'Error: There is no completed backup of "shop" yet. [BACKUP_UNKNOWN]\n'
        "What to do: Take one: coffre backup database shop\n"
    )


def test_an_id_of_another_target_is_refused(coffre: Coffre, account: Account) -> None:
    backup = account.backup(target="blog")

    said = coffre("restore", "database", backup.id, "--target", "shop", "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert f"Backup {backup.id} is of blog, not of shop." in said.err


def test_a_destination_in_use_is_answered_with_a_command_that_works(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    failure = Failure(code="DESTINATION_NOT_EMPTY", message="It is not empty.", hint="Nothing was changed.")
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id, failure=failure) and None
    )

    said = coffre("restore", "database", backup.id, "--to", URL)

    assert said.status == 1
    assert "The restore of shop failed. The backup itself is untouched.\n" in said.out
    assert said.out.endswith(
        f"  coffre restore database {backup.id} --to postgresql://me@db.example:5433/copy_restored\n"
    )
    assert PASSWORD not in said.out + said.err


def test_the_secret_of_the_destination_is_named_after_the_restore(coffre: Coffre, account: Account) -> None:
    """By that the function knows that the address is the one of --to, and says so in its errors."""
    backup = account.backup()
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id) and None
    )

    assert coffre("restore", "database", backup.id, "--to", URL, "--json").json()["status"] == "FAILED"
    ((_, event),) = account.invoked
    assert event["destination"] == f"coffre/destination/{event['restore_id']}"


def test_without_the_right_to_keep_the_address_nothing_starts(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = account.backup()

    class Forbidden:
        def create_secret(self, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "CreateSecret")

    monkeypatch.setattr(DeployedStack, "secrets", Forbidden())

    said = coffre("restore", "database", backup.id, "--to", URL)

    assert (said.status, account.invoked) == (1, [])
    assert "[SECRET_NOT_WRITTEN]" in said.err
    assert "secretsmanager:CreateSecret" in said.err
    assert PASSWORD not in said.err


@pytest.mark.parametrize("arguments", [(), ("latest",), ("--to", URL)])
def test_both_the_backup_and_the_destination_have_to_be_said(
    coffre: Coffre, account: Account, arguments: tuple[str, ...]
) -> None:
    said = coffre("restore", "database", *arguments)

    assert said.status == 2
    assert "Usage: coffre restore" in said.err


# --- parts of a backup, and what is in use ---

KEPT = Kept(what="the schema restored_x", remove='DROP SCHEMA "restored_x" CASCADE')
COMPARED = Comparison(
    table="public.orders_of_2026",
    beside="restored_x.orders_of_2026",
    missing=28,
    changed=1_234_567,
    same=12_345_678,
    extra=3,
    columns=("price", "total"),
)


def saying(account: Account, exceptions: tuple[str, ...] = (), **report: Any) -> None:
    """Play a restore whose report says this."""

    def play(function: str, event: Mapping[str, Any]) -> object:
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"]}
        dry_run = bool(event.get("dry_run"))
        plan = plan_of(event) if is_planned(event) else None
        said = {"dry_run": dry_run, "plan": plan, **report}
        account.restore(**ids, dry_run=dry_run, exceptions=exceptions, report=said)
        return answer_to(account, plan) if plan else None

    account.play = play


@pytest.mark.parametrize(
    ("options", "event"),
    [
        ("tables latest orders", {"tables": ["orders"]}),
        ("tables latest orders app.*", {"tables": ["orders", "app.*"]}),
        ("tables latest --schema app -n web", {"schemas": ["app", "web"]}),
        ("tables latest orders --with-dependencies", {"tables": ["orders"], "with_dependencies": True}),
        (
            "tables latest orders --replace --yes --no-safety",
            {"tables": ["orders"], "replace": True, "no_safety": True},
        ),
        (
            "tables latest --replace --strict --dry-run -- -x",
            {"tables": ["-x"], "replace": True, "strict": True, "dry_run": True},
        ),
        ("database latest --replace -y --no-safety", {"replace": True, "no_safety": True}),
        ("database latest --replace --dry-run", {"replace": True, "dry_run": True}),
        ("tables latest orders --streams 3", {"tables": ["orders"], "streams": 3}),
        (
            "rows latest orders --where-column at --from 2026-11-17 --until 2026-11-18",
            {"tables": ["orders"], "rows": {"column": "at", "start": "2026-11-17", "end": "2026-11-18"}},
        ),
        (
            "rows latest orders --where-column at --until 5 --apply --yes --no-safety",
            {"tables": ["orders"], "rows": {"column": "at", "end": "5"}, "apply": True, "no_safety": True},
        ),
        ("rows latest orders --where total<0", {"tables": ["orders"], "rows": {"where": "total<0"}}),
        (
            "database latest --to coffre/destination/x --contents schema --strict --no-analyze",
            {"destination": "coffre/destination/x", "contents": "schema", "strict": True, "analyze": False},
        ),
        (
            "tables latest orders --to coffre/destination/x",
            {"destination": "coffre/destination/x", "tables": ["orders"]},
        ),
    ],
)
def test_every_option_is_said_in_the_event(
    coffre: Coffre, account: Account, options: str, event: dict[str, Any]
) -> None:
    backup = account.backup()
    saying(account)

    said = coffre("restore", *options.split())

    *planned, (_, sent) = account.invoked
    restore_id = sent["restore_id"]
    parsed = RestoreEvent.parse({**sent, "confirmation": None})
    assert [RestoreEvent.parse(trial).scope for _, trial in planned] == (
        [parsed.scope.model_copy(update={"dry_run": True})] if "-y" in options else []
    )
    assert (sent.get("confirmation", {}).get("name") == NAME) == ("-y" in options)
    assert parsed == RestoreEvent.parse({"backup_id": backup.id, "restore_id": restore_id, **event})
    assert (said.status, said.err) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("database latest", "say where to: --to for a new or empty database, or --replace"),
        ("database latest --dry-run", "say where to: --to for a new or empty database, or --replace"),
        ("database latest --to coffre/destination/x --swap 01K9X", "--swap needs --replace"),
        ("database latest --to coffre/destination/x --accept-exceptions", "--accept-exceptions needs --replace"),
        ("database latest --to coffre/destination/x --no-safety", "--no-safety needs --replace"),
        ("database latest --replace --restart", "--restart is for restores into a new or empty database"),
        ("database latest --replace --resume 01K9X", "--resume finishes the database that --replace has built"),
        ("database latest --to env:X --resume 01K9X --restart", "leave --restart and --dry-run out"),
        ("database latest --to env:X --resume 01K9X --dry-run", "leave --restart and --dry-run out"),
        ("tables latest t --resume 01K9X --dry-run", "leave --dry-run out"),
        ("rows latest t --where id=1 --resume 01K9X --dry-run", "leave --dry-run out"),
        ("database latest --to env:X --resume x", "resume: String should match pattern"),
        ("database latest --replace --contents data", "--contents is for restores into a new or empty database"),
        ("database latest --replace --swap x", "swap: String should match pattern"),
        ("tables latest", "name the tables, or their schema with --schema; for everything: coffre restore database"),
        ("tables latest orders --no-safety", "--no-safety is for --replace"),
        ("tables latest --schema=", "--schema is empty"),
        ("rows latest orders", "say which rows: --where-column with --from and --until, or --where"),
        ("rows latest orders --apply", "say which rows: --where-column with --from and --until, or --where"),
        ("rows latest orders --where-column at", "--where-column needs --from, --until, or both"),
        ("rows latest orders --from 1", "--from and --until need --where-column"),
        ("rows latest orders --where true --until 1", "--from and --until need --where-column"),
        ("rows latest orders --where-column at --from 1 --where true", "--where-column and --where exclude each other"),
        ("rows latest --where true", "Missing argument 'TABLE'"),
        ("rows latest orders --where true --no-safety", "--no-safety is for --apply"),
        ("rows latest orders --where a;b", "--where: only one expression is possible"),
        ("rows latest orders --where (a", "--where: the parentheses do not match"),
        ("rows latest orders --where-column at --from=", "--from is empty"),
        (
            "rows latest orders --where-column at --from 2026-11-18 --until 2026-11-17",
            "is not before --until",
        ),
        (
            "rows latest orders --where-column at --from 2026-11-18T10:00Z --until 2026-11-18",
            "no row is in",
        ),
        ("rows latest orders --where-column id --from 10 --until 9", "--from 10 is not before --until 9"),
        # What does not fit is not offered
        ("database latest --table orders", "No such option: --table"),
        ("tables latest orders --contents data", "No such option: --contents"),
        ("rows latest orders --where true --replace", "No such option: --replace"),
        ("objects latest --to coffre/destination/x --replace", "No such option: --replace"),
        # The form without saying what
        (
            "latest --to coffre/destination/x",
            "say first what is restored: database, tables, rows, objects, settings, repositories or point",
        ),
        ("01K9X --table orders", "coffre restore database 01K9X"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_by_their_names(
    coffre: Coffre, account: Account, options: str, words: str
) -> None:
    account.backup()

    said = coffre("restore", *options.split())

    assert (said.status, said.out, account.invoked) == (2, "", [])
    assert words in said.err


def test_who_takes_to_for_the_end_of_the_period_is_told(coffre: Coffre, account: Account) -> None:
    account.backup()

    period = ["--where-column", "at", "--from", "2026-11-17", "--to", "2026-11-18"]
    said = coffre("restore", "rows", "latest", "orders", *period)

    assert (said.status, account.invoked) == (1, [])
    assert "What to do: The end of the period is --until; --to names a database. Give postgresql://" in said.err


@pytest.mark.parametrize(
    "options",
    ["database latest --replace", "tables latest orders --replace", "rows latest orders --where true --apply"],
)
def test_without_a_terminal_nothing_in_use_is_changed_unless_yes_is_said(
    coffre: Coffre, account: Account, options: str
) -> None:
    account.backup()

    said = coffre("restore", *options.split(), stdin="y\n")

    assert (said.status, said.out, account.invoked) == (2, "", [])
    assert "this changes a database in use: add --yes, or --dry-run" in said.err


@pytest.mark.parametrize(
    ("answer", "status", "runs"), [("copy", 0, [True, False]), ("Copy", 1, [True]), ("", 1, [True])]
)
def test_a_person_sees_the_plan_and_types_the_name(
    coffre: Coffre,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: int,
    runs: list[bool],
) -> None:
    waited = at_a_terminal(monkeypatch)
    account.backup()
    saying(account, steps=("Make the rows of public.orders those of the backup.",))

    said = coffre("restore", "tables", "latest", "orders", "--replace", stdin=f"{answer}\n")

    assert said.status == status
    assert [event.get("dry_run", False) for _, event in account.invoked] == runs
    plan = "Nothing was changed. This would be done:\n  Make the rows of public.orders those of the backup.\n"
    assert said.out.startswith(plan)
    words = " ".join(said.out.split())
    assert (
        "This changes db.example:5432/copy as me: 1.5 GB in 12 tables, about 3,400,000 rows (the server's estimate)."
        in words
    )
    assert "The newest row that an index shows is of 2026-11-28 03:01:12 UTC (public.orders.created_at)." in words
    assert 'Type "copy" to confirm:' in said.err
    assert waited == [1] * (10 if status == 0 else 0)


def test_the_token_of_a_plan_is_shown_nowhere(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account)

    said = [coffre("restore", "database", "latest", "--replace", *how) for how in (["--yes"], ["--yes", "--json"])]

    tokens = [event["confirmation"]["token"] for _, event in account.invoked if "confirmation" in event]
    assert len(tokens) == 2
    assert not any(token in one.out + one.err for token in tokens for one in said)


def test_a_function_that_refuses_a_plan_is_quoted(coffre: Coffre, account: Account) -> None:
    account.backup()
    words = "No second database. [ROLE_READS]\n  permission denied\n  What to do: Use another role."
    account.play = lambda function, event: {"errorType": "DestinationError", "errorMessage": words}

    said = coffre("restore", "database", "latest", "--replace", "--yes")

    assert said.status == 1
    assert "Error: No second database. [ROLE_READS]" in said.err
    assert "What to do: Use another role." in said.err


def test_a_plan_that_took_several_invocations_is_asked_for_again(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account)
    play, answers = account.play, iter([False, True])

    def lately(function: str, event: Mapping[str, Any]) -> object:
        if not event.get("dry_run"):
            return play(function, event)
        if not next(answers):
            play(function, event)
            return {"status": "IN_PROGRESS"}
        return answer_to(account, plan_of(event))

    account.play = lately

    said = coffre("restore", "database", "latest", "--replace", "--yes")

    assert said.status == 0
    first, second, applied = (event for _, event in account.invoked)
    assert first == second
    assert applied["confirmation"]["name"] == NAME


def test_a_plan_that_fails_is_not_asked_about(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)
    backup = account.backup()
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id) and None
    )

    said = coffre("restore", "database", "latest", "--replace", stdin="y\n")

    assert (said.status, len(account.invoked)) == (1, 1)
    assert "to confirm" not in said.out + said.err


def test_names_in_a_plan_do_not_pretend_to_be_those_of_the_run(coffre: Coffre, account: Account) -> None:
    account.backup()

    def play(function: str, event: Mapping[str, Any]) -> None:
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"]}
        step = f"Create the database shop_restored_{event['restore_id'].lower()}."
        account.restore(**ids, dry_run=True, report={"dry_run": True, "steps": (step,)})

    account.play = play

    said = coffre("restore", "database", "latest", "--replace", "--dry-run")

    assert said.out == "Nothing was changed. This would be done:\n  Create the database shop_restored_<id>.\n"


def test_exceptions_are_listed_and_have_a_status_of_their_own(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, ("The destination lacks the role app.",), notes=("New rows of public.orders were kept.",))

    said = coffre("restore", "database", "latest", "--to", URL)

    assert said.status == 4
    assert "1,003 rows in 2.5 s, with 1 exception. Row counts equal the backup's.\n" in said.out
    assert (
        "  Exception: The destination lacks the role app.\n  Note: New rows of public.orders were kept.\n" in said.out
    )
    assert coffre("restore", "database", "latest", "--to", URL, "--json").status == 4


def test_a_table_beside_is_compared_within_eighty_columns(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, comparisons=(COMPARED,), kept=(KEPT,))

    said = coffre("restore", "tables", "latest", "orders_of_2026")

    lines = said.out.splitlines()
    assert lines[0].startswith("Loaded shop in db.example:5432/copy: 2 tables, 1,003 rows in 2.5 s.")
    [heading, row] = lines[2:4]
    assert heading.split() == ["TABLE", "MISSING", "CHANGED", "SAME", "NOT", "IN", "BACKUP"]
    assert row.split() == [COMPARED.table, "28", "1,234,567", "12,345,678", "3"]
    assert len(row) <= 80
    assert f"Changed in {COMPARED.table}: price, total" in lines
    assert "No table in use was changed. The backup's version is in the staging schema:" in lines
    assert f"  {COMPARED.beside}" in lines
    assert any(line.endswith("run this again with --replace.") for line in lines)
    # And what it leaves is removed by a statement that psql runs as it stands
    assert '  DROP SCHEMA "restored_x" CASCADE;' in lines


def test_rows_that_were_brought_over_are_counted(coffre: Coffre, account: Account) -> None:
    account.backup()
    done = COMPARED.model_copy(update={"inserted": 28, "updated": 4, "before": "restored_x.before"})
    saying(account, comparisons=(done,), kept=(KEPT,))

    said = coffre("restore", "rows", "latest", "orders", "--where", "true", "--apply", "--yes")

    lines = said.out.splitlines()
    assert lines[0] == "Applied 32 of 1,003 rows of the backup to db.example:5432/copy in 2.5 s."
    [heading, row] = lines[2:4]
    assert heading.split() == ["TABLE", "INSERTED", "SET", "BACK", "DELETED", "SAME", "NOT", "IN", "BACKUP"]
    assert row.split() == [COMPARED.table, "28", "4", "0", "12,345,678", "3"]
    assert len(row) <= 80
    assert f"Rows of {COMPARED.table} as they were before: restored_x.before" in lines
    assert "Nothing in use was touched" not in said.out


def test_what_was_restored_with_an_existing_table_is_named(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, comparisons=(COMPARED,), dependents=("view public.sales", "foreign key public.lines fk"))

    said = coffre("restore", "tables", "latest", "orders_of_2026", "--with-dependencies")

    lines = said.out.splitlines()
    assert lines[1] == "Also restored: view public.sales, foreign key public.lines fk."
    assert "No row of a table in use was changed. The backup's version is in the staging schema:" in lines


@pytest.mark.parametrize("command", ["restore tables latest orders --replace", "restore database latest --replace"])
def test_ctrl_c_at_the_question_says_that_nothing_was_changed(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def press(*_: object, **__: object) -> str:
        raise typer.Abort

    at_a_terminal(monkeypatch)
    account.backup()
    saying(account)
    monkeypatch.setattr("coffre_cli.confirming.typer.prompt", press)

    said = coffre(*command.split())

    assert said.status == 130
    assert said.err.endswith("Stopped. Nothing was changed.\n")
    assert [event.get("dry_run") for _, event in account.invoked] == [True]


def test_rows_that_could_not_be_compared_are_not_called_compared(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, ("public.events has no primary key, so it is not compared.",))

    said = coffre("restore", "rows", "latest", "events", "--where", "true")

    assert said.status == 4
    first = "Loaded 1,003 rows of the backup into a staging schema of db.example:5432/copy in 2.5 s, with 1 exception. "
    assert said.out.splitlines()[0] == f"{first}Nothing was compared."


def test_what_went_with_a_table_is_brought_back_by_a_command(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, script="CREATE VIEW sales ...;")

    said = coffre("restore", "tables", "latest", "orders")

    restore_id = account.invoked[0][1]["restore_id"]
    command = f"  coffre show {restore_id} --json | jq -r .report.script | psql postgresql://..."
    assert command in said.out.splitlines()
    assert command in coffre("show", restore_id).out.splitlines()
    assert coffre("show", restore_id, "--json").json()["report"]["script"] == "CREATE VIEW sales ...;"


def test_show_repeats_what_a_restore_found_and_left(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, comparisons=(COMPARED,), kept=(KEPT,))
    coffre("restore", "tables", "latest", "orders")

    lines = coffre("show", account.invoked[0][1]["restore_id"]).out.splitlines()

    assert f"Changed in {COMPARED.table}: price, total" in lines
    assert '  DROP SCHEMA "restored_x" CASCADE;' in lines


def test_definitions_alone_do_not_boast_of_rows(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, tables=(), rows=0)

    said = coffre("restore", "database", "latest", "--to", URL, "--contents", "schema")

    assert said.out.startswith(
        "Restored the definitions of shop in db.example:5432/copy in 2.5 s. Its tables are empty.\n"
    )


def test_scripts_get_comparisons_and_what_is_kept(coffre: Coffre, account: Account) -> None:
    account.backup()
    saying(account, comparisons=(COMPARED,), kept=(KEPT,))

    report = coffre("restore", "tables", "latest", "orders", "--json").json()["report"]

    [found] = report["comparisons"]
    assert (found["missing"], found["changed"], found["columns"]) == (28, 1_234_567, ["price", "total"])
    assert report["kept"] == [{"what": KEPT.what, "remove": KEPT.remove}]


def test_a_restore_that_is_done_while_its_record_does_not_say_so_is_shown_as_done(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeats have stopped; the vault has its report."""
    account.backup()

    def play(function: str, event: Mapping[str, Any]) -> None:
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"]}
        account._report(ids, {})
        account.restore(Status.IN_PROGRESS, **ids)

    account.play = play
    monkeypatch.setattr("coffre_cli.follow._SILENT_SECONDS", -1.0)
    monkeypatch.setattr("coffre_cli.follow.time.sleep", lambda _: None)

    said = coffre("restore", "database", "latest", "--to", URL)

    assert said.status == 4
    assert "Restored shop in db.example:5432/copy" in said.out
    assert "The data is restored, but the catalog does not list this restore as completed yet." in said.out


def test_a_restore_that_died_without_a_report_is_an_error(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = account.backup()
    account.play = lambda function, event: (
        account.restore(Status.IN_PROGRESS, id=event["restore_id"], backup_id=backup.id) and None
    )
    monkeypatch.setattr("coffre_cli.follow._SILENT_SECONDS", -1.0)
    monkeypatch.setattr("coffre_cli.follow.time.sleep", lambda _: None)

    said = coffre("restore", "database", "latest", "--to", URL)

    assert said.status == 1
    assert "[RUN_DIED]" in said.err


@pytest.mark.parametrize("code", ["RUN_DIED", "OUTCOME_UNKNOWN"])
def test_an_unknown_outcome_is_not_called_a_failure(coffre: Coffre, account: Account, code: str) -> None:
    backup = account.backup()
    failure = Failure(code=code, message="The answer is lost.", hint="Look.")
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=backup.id, failure=failure) and None
    )

    said = coffre("restore", "database", "latest", "--to", URL)

    assert said.status == 1
    assert said.out == "It is not known whether the restore of shop took effect. The backup itself is untouched.\n"


OFFSITE = {"type": "s3", "bucket": "copy", "region": REGION}


def test_the_copy_that_is_named_is_in_the_event(coffre: Coffre, account: Account) -> None:
    account.configure_copies(offsite=OFFSITE)
    backup = account.backup()
    completing(account)

    for what in (("database",), ("tables", "orders")):
        kind, *table = what
        coffre("restore", kind, backup.id, *table, "--to", URL, "--from", "offsite")
    coffre("restore", "rows", backup.id, "orders", "--where", "id < 3", "--to", URL, "--from-copy", "vault")

    assert [event["from"] for _, event in account.invoked] == ["offsite", "offsite", "vault"]
    assert all(RestoreEvent.parse(event).source for _, event in account.invoked)


def test_a_copy_that_does_not_exist_is_refused_before_anything_starts(coffre: Coffre, account: Account) -> None:
    account.configure_copies(offsite=OFFSITE)
    backup = account.backup()

    said = coffre("restore", "database", backup.id, "--to", URL, "--from", "offside")

    assert (said.status, account.invoked) == (1, [])
    assert 'There is no copy "offside". [COPY_UNKNOWN]' in said.err
    assert "Configured copies: offsite" in said.err


def test_from_in_rows_begins_a_period_and_the_error_says_how_a_copy_is_named(coffre: Coffre, account: Account) -> None:
    said = coffre("restore", "rows", account.backup().id, "orders", "--from", "offsite")

    assert said.status == 2
    assert "a copy is --from-copy" in said.err


def test_a_restore_whose_report_cannot_be_read_is_shown_by_its_record(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = account.backup()
    completing(account)

    def unreadable(*_: object) -> None:
        raise StoreError("The bucket vault does not exist.", code="BUCKET_MISSING")

    monkeypatch.setattr(Vault, "read_report", unreadable)

    said = coffre("restore", "database", backup.id, "--to", URL)

    assert said.status == 0
    assert "The report of the restore cannot be read: The bucket vault does not exist. [BUCKET_MISSING]" in said.err
    assert "Restored shop in db.example:5432/copy, in 2.5 s." in said.out


def test_settings_are_read_from_the_copy_that_is_named(coffre: Coffre, account: Account) -> None:
    """`latest` is the latest that the copy has."""
    account.configure_copy("nas")
    account.backup(target="settings", kind=TargetKind.SETTINGS)

    lacking = coffre("restore", "settings", "latest", "--target", "settings", "--from", "nas")
    unknown = coffre("restore", "settings", "latest", "--target", "settings", "--from", "other")

    assert (lacking.status, 'The copy "nas" has no complete backup of "settings"' in lacking.err) == (1, True)
    assert (unknown.status, "COPY_UNKNOWN" in unknown.err) == (1, True)
