"""`coffre restore` backs up what it overwrites, names that backup, and asks where that is impossible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.cli.conftest import FAILURE, Account, Coffre
from tests.unit.cli.planning import NAME, answer_to, at_a_terminal, is_planned, plan_of

from coffre.model.backup import Failure, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.safety import Safety, SafetyState
from coffre.model.storage import StorageResult, StorageScope

NEEDED = Safety(
    state=SafetyState.NEEDED,
    text='The present state of "shop" is backed up first (tier SAFETY, kept for 7 days).',
    target="shop",
    kept_days=7,
)
IMPOSSIBLE = Safety(state=SafetyState.IMPOSSIBLE, text="The present state of db/x cannot be backed up first: because.")
REPLACE = ("restore", "tables", "latest", "orders", "--replace")


@dataclass
class Functions:
    """Functions that do what a test says: a restore whose plan says `plan`, and backups that end in these ways."""

    account: Account
    plan: Safety | None
    backups: list[Status] = field(default_factory=lambda: [Status.COMPLETED])
    restored: Status = Status.COMPLETED
    is_bucket: bool = False
    asked: list[tuple[str, bool, bool]] = field(default_factory=list)

    def __call__(self, function: str, event: Mapping[str, Any]) -> object:
        if function != "restore":
            assert (event["target"], event["tier"]) == ("shop", "SAFETY")
            self.asked.append((function, False, False))
            kind = TargetKind.BUCKET if self.is_bucket else TargetKind.DATABASE
            self.account.backup(self.backups.pop(0), id=event["backup_id"], tiers=(Tier.SAFETY,), kind=kind)
            return None
        scope = event.get("storage", event)
        dry_run, no_safety = bool(scope.get("dry_run")), bool(scope.get("no_safety"))
        self.asked.append((function, dry_run, no_safety))
        plan = plan_of(event) if is_planned(event) else None
        said: dict[str, Any] = {
            "dry_run": dry_run,
            "safety": self._safety(no_safety) if dry_run else None,
            "plan": plan,
        }
        if self.is_bucket:
            said["storage"] = StorageResult(scope=StorageScope.model_validate(scope))
        status = Status.COMPLETED if dry_run else self.restored
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"]}
        report = {"report": said} if status is Status.COMPLETED else {}
        self.account.restore(status, **ids, dry_run=dry_run, **report)
        return answer_to(self.account, plan) if plan else None

    def _safety(self, no_safety: bool) -> Safety | None:
        saved = [one for one in self.account.catalog.backups() if Tier.SAFETY in one.tiers]
        if self.plan and no_safety:
            return self.plan.model_copy(update={"state": SafetyState.DECLINED})
        if self.plan and saved and saved[0].status is Status.COMPLETED:
            taken = {"state": SafetyState.PRESENT, "backup_id": saved[0].id, "taken_at": saved[0].created_at}
            return self.plan.model_copy(update=taken)
        return self.plan


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch)


def play(account: Account, plan: Safety | None, **how: Any) -> Functions:
    account.play = functions = Functions(account, plan, **how)
    return functions


@pytest.mark.usefixtures("person")
def test_a_person_confirms_the_plan_and_the_present_state_is_backed_up(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    functions = play(account, NEEDED)

    said = coffre(*REPLACE, stdin=f"{NAME}\n")

    # A token may not live as long as the backup takes: the plan is made again
    assert functions.asked == [
        ("restore", True, False),
        ("backup_database", False, False),
        ("restore", True, False),
        ("restore", False, False),
    ]
    saved = next(one for one in account.catalog.backups() if one.id != backup.id)
    assert said.status == 0
    assert f"  {NEEDED.text}\n" in said.out
    assert f"The present state of shop is in the SAFETY backup {saved.id}.\n" in said.out
    assert said.out.endswith(
        f"Before: SAFETY backup {saved.id} of {saved.created_at:%Y-%m-%d %H:%M:%S} UTC, kept for 7 days. To go back:\n"
        f"  coffre restore tables {saved.id} orders --replace\n"
        "Table by table:\n"
        f"  coffre show {account.invoked[-1][1]['restore_id']}\n"
    )


def test_scripts_get_the_backup_without_being_asked(coffre: Coffre, account: Account) -> None:
    account.backup()
    functions = play(account, NEEDED)

    said = coffre(*REPLACE, "--yes", "--json")

    assert [function for function, *_ in functions.asked] == ["restore", "backup_database", "restore", "restore"]
    shown = said.json()
    assert (said.status, said.err) == (0, "")
    assert shown["safety"]["state"] == "present"
    assert account.catalog.get_backup(shown["safety"]["backup_id"]).tiers == (Tier.SAFETY,)


@pytest.mark.usefixtures("person")
def test_a_backup_of_minutes_ago_is_used_and_named(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    taken = datetime(2026, 11, 28, 3, tzinfo=UTC)
    present = Safety(
        state=SafetyState.PRESENT, text="It is in a backup.", target="shop", backup_id=backup.id, taken_at=taken
    )
    functions = play(account, present)

    said = coffre("restore", "database", "latest", "--replace", "--to", "coffre/destination/owner", stdin=f"{NAME}\n")

    assert [function for function, *_ in functions.asked] == ["restore", "restore"]
    assert f"Before: backup {backup.id} of 2026-11-28 03:00:00 UTC. To go back:\n" in said.out
    assert f"  coffre restore database {backup.id} --replace --to coffre/destination/owner\n" in said.out


def test_yes_alone_overwrites_nothing_that_cannot_be_backed_up(coffre: Coffre, account: Account) -> None:
    account.backup()
    functions = play(account, IMPOSSIBLE)

    said = coffre(*REPLACE, "--yes")

    assert functions.asked == [("restore", True, False)]
    assert said.status == 1
    assert "cannot be backed up first: because. [SAFETY_IMPOSSIBLE]" in said.err
    assert "--no-safety" in said.err


def test_no_safety_says_so_and_is_planned_too(coffre: Coffre, account: Account) -> None:
    account.backup()
    functions = play(account, IMPOSSIBLE)

    assert coffre(*REPLACE, "--yes", "--no-safety").status == 0
    assert functions.asked == [("restore", True, True), ("restore", False, True)]


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize(
    ("answers", "runs"), [(f"{NAME}\ny\n", [True, True, False]), (f"{NAME}\nn\n", [True]), ("n\n", [True])]
)
def test_a_person_is_asked_again_where_no_backup_is_possible(
    coffre: Coffre, account: Account, answers: str, runs: list[bool]
) -> None:
    account.backup()
    functions = play(account, IMPOSSIBLE)

    said = coffre(*REPLACE, stdin=answers)

    assert [dry_run for _, dry_run, _ in functions.asked] == runs
    assert functions.asked[-1][2] is (len(runs) == 3)
    assert ("Overwrite it WITHOUT a backup of its present state? [y/N]:" in said.err) is (answers != "n\n")
    assert said.status == (0 if len(runs) == 3 else 1)


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize(("answer", "restores"), [("y", 3), ("n", 1)])
def test_a_backup_that_fails_is_shown_and_asked_about(
    coffre: Coffre, account: Account, answer: str, restores: int
) -> None:
    account.backup()
    functions = play(account, NEEDED, backups=[Status.FAILED])

    said = coffre(*REPLACE, stdin=f"{NAME}\n{answer}\n")

    assert f"{FAILURE.message} [{FAILURE.code}]" in said.err
    assert "failed, and nothing was changed." in said.err
    assert [function for function, *_ in functions.asked].count("restore") == restores


def test_a_backup_that_fails_ends_a_script(coffre: Coffre, account: Account) -> None:
    account.backup()
    functions = play(account, NEEDED, backups=[Status.FAILED])

    said = coffre(*REPLACE, "--yes")

    assert (said.status, len(functions.asked)) == (1, 2)
    assert "[SAFETY_FAILED]" in said.err


def test_another_running_backup_is_waited_for(coffre: Coffre, account: Account) -> None:
    account.backup()
    functions = play(account, NEEDED)
    other = account.backup(Status.IN_PROGRESS)
    skipped: list[str] = []

    def busy(function: str, event: Mapping[str, Any]) -> object:
        if function == "backup_database" and not skipped:
            skipped.append(event["backup_id"])
            now = datetime.now(UTC)
            account.catalog.audit.record(
                now, "backup", "skipped", "shop", event["backup_id"], f"backup {other.id} of shop is already running"
            )
            account.catalog.fail_backup(other.id, Failure(code="X", message="x"), now)
            return None
        return functions(function, event)

    account.play = busy
    said = coffre(*REPLACE, "--yes")

    assert said.status == 0
    assert f"Waiting: backup {other.id} of shop is already running." in said.err
    assert [function for function, *_ in functions.asked] == ["restore", "backup_database", "restore", "restore"]


def test_a_restore_that_fails_names_the_backup_too(coffre: Coffre, account: Account) -> None:
    account.backup()
    play(account, NEEDED, restored=Status.FAILED)

    said = coffre(*REPLACE, "--yes")

    assert said.status == 1
    assert "Before: SAFETY backup " in said.out
    assert " orders --replace\n" in said.out


@pytest.mark.parametrize(
    ("options", "back"),
    [
        (("--mode", "mirror"), "--mode mirror"),
        (("--mode", "mirror", "--bucket", "invoices", "--prefix", "a/"), "--bucket invoices --prefix a/ --mode mirror"),
        (("--mode", "overwrite", "--to", "other/old"), "--bucket other --prefix old/ --mode mirror"),
        (("--mode", "overwrite", "--bucket", "invoices", "--key", "a"), "--bucket invoices --mode overwrite"),
    ],
)  # fmt: skip
def test_objects_are_backed_up_and_the_command_that_sets_them_back_is_named(
    coffre: Coffre, account: Account, options: tuple[str, ...], back: str
) -> None:
    account.configure_buckets("shop", "avatars", "invoices")
    backup = account.backup(kind=TargetKind.BUCKET)
    functions = play(account, NEEDED, is_bucket=True)

    said = coffre("restore", "objects", backup.id, *options, "--yes")

    assert [function for function, *_ in functions.asked] == ["restore", "backup_storage", "restore", "restore"]
    saved = next(one for one in account.catalog.backups() if one.id != backup.id)
    assert said.out.endswith(f"To go back:\n  coffre restore objects {saved.id} {back}\n")


@pytest.mark.parametrize(
    "options",
    [
        ("database", "latest", "--to", "coffre/destination/x"),
        ("tables", "latest", "orders"),
        ("rows", "latest", "orders", "--where", "true"),
        ("objects", "latest", "--prefix", "a", "--mode", "missing"),
    ],
)
def test_the_option_is_for_what_overwrites(coffre: Coffre, account: Account, options: tuple[str, ...]) -> None:
    account.backup(kind=TargetKind.BUCKET if "--mode" in options else TargetKind.DATABASE)

    said = coffre("restore", *options, "--no-safety")

    assert (said.status, account.invoked) == (2, [])
    assert "--no-safety " in said.err
