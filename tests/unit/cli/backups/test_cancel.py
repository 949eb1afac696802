"""`coffre cancel`: which run is meant, what is asked, and what is said of its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.planning import deciding
from ulid import ULID

from coffre.model.backup import Backup, Failure, Progress, Restore, Status
from coffre.model.drill import DrillRun
from coffre_cli.commands.backups import cancel as cancel_command

NOW = datetime.now(UTC)
COMPLETED = {"completed_at": NOW, "manifest_key": "v1/backups/shop/x/manifest.json", "manifest_sha256": "0" * 64}
FAILURE = Failure(code="CANCELLED", message="The backup was cancelled by ada.", hint=None)


@pytest.fixture(autouse=True)
def rotate(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function `rotate` cancels; runs see it as soon as it was asked."""
    deciding(account)
    monkeypatch.setattr(cancel_command, "_LOOK_SECONDS", 0.01)


def running(account: Account, target: str = "shop") -> Backup:
    return account.backup(
        Status.IN_PROGRESS, target=target, heartbeat_at=datetime.now(UTC), progress=Progress(phase="tables")
    )


def ends_as(account: Account, run: Backup | Restore, status: Status = Status.FAILED) -> None:
    """Let a run end when it is asked to."""
    play = account.play

    def play_and_end(function: str, event: object) -> object:
        answer = play(function, event)  # type: ignore[arg-type]
        if isinstance(run, Backup) and status is Status.FAILED:
            account.catalog.fail_backup(run.id, FAILURE, NOW)
        elif isinstance(run, Backup):
            account.catalog.complete_backup(run.model_copy(update={"status": status, **COMPLETED}))
        else:
            account.catalog.finish_restore(run.model_copy(update={"status": status, "failure": FAILURE}))
        return answer

    account.play = play_and_end


@pytest.mark.parametrize("part", [slice(None), slice(-6, None)])
def test_a_backup_is_cancelled_and_its_end_is_waited_for(coffre: Coffre, account: Account, part: slice) -> None:
    run = running(account)
    ends_as(account, run)

    said = coffre("cancel", run.id[part], "--yes")

    assert (said.status, said.out) == (0, f"Cancelled: backup {run.id} of shop.\n")
    assert account.invoked == [("safe-rotate", {"cancel": run.id})]
    assert account.catalog.get_backup(run.id).cancelled_by == account.caller
    (event,) = account.catalog.audit.events()
    assert (event.action, event.subject) == ("backup.cancelled", run.id)


def test_a_restore_is_cancelled_too(coffre: Coffre, account: Account) -> None:
    run = account.restore(Status.IN_PROGRESS, backup_id=account.backup().id, heartbeat_at=datetime.now(UTC))
    ends_as(account, run)

    said = coffre("cancel", run.id, "--yes", "--json").json()

    assert (said["id"], said["status"], said["failure"]["code"]) == (run.id, "FAILED", "CANCELLED")


@pytest.mark.parametrize("part", [slice(None), slice(-6, None)])
def test_a_drill_is_cancelled_too(coffre: Coffre, account: Account, part: slice) -> None:
    run = DrillRun(id=str(ULID()), backup_id=account.backup().id, target="shop", created_at=datetime.now(UTC))
    account.catalog.drill_runs.note(run, datetime.now(UTC))
    play = account.play

    def play_and_end(function: str, event: object) -> object:
        answer = play(function, event)  # type: ignore[arg-type]
        assert account.catalog.drill_runs.asked_by(run) == account.caller
        ended = run.model_copy(update={"status": Status.FAILED, "failure": FAILURE})
        account.catalog.drill_runs.note(ended, datetime.now(UTC))
        return answer

    account.play = play_and_end

    said = coffre("cancel", run.id[part], "--yes")

    assert (said.status, said.out) == (0, f"Cancelled: drill {run.id} of shop.\n")
    assert [event.action for event in account.catalog.audit.events()] == ["drill.cancelled"]


def test_a_drill_that_was_killed_long_ago_is_not_the_one_that_runs(coffre: Coffre, account: Account) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    run = DrillRun(id=str(ULID()), backup_id=account.backup().id, target="shop", created_at=long_ago)
    account.catalog.drill_runs.note(run, long_ago)

    assert "[NOTHING_RUNS]" in coffre("cancel", "--yes").err


def test_without_an_id_the_only_run_is_meant(coffre: Coffre, account: Account) -> None:
    nothing = coffre("cancel", "--yes")
    run = running(account)
    ends_as(account, run)
    one = coffre("cancel", "--yes")
    others = [running(account), running(account, "blog")]
    several = coffre("cancel", "--yes")

    assert "[NOTHING_RUNS]" in nothing.err
    assert f"Cancelled: backup {run.id}" in one.out
    assert "[RUN_AMBIGUOUS]" in several.err
    assert all(f"{other.id}  backup of {other.target}" in several.err for other in others)
    assert [event for _, event in account.invoked] == [{"cancel": run.id}]


def test_a_script_has_to_say_yes(coffre: Coffre, account: Account) -> None:
    run = running(account)

    said = coffre("cancel", run.id)

    assert said.status == 2
    assert "add --yes" in " ".join(said.err.split())
    assert account.invoked == []


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_person_is_asked(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    monkeypatch.setattr(cancel_command, "is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: typed.startswith("y"))
    run = running(account)
    ends_as(account, run)

    said = coffre("cancel", run.id)

    assert said.status == status
    assert "is at: tables" in said.err
    assert len(account.invoked) == (1 if status == 0 else 0)


def test_a_run_that_ended_before_it_saw_that_is_said_to_have_ended(coffre: Coffre, account: Account) -> None:
    run = running(account)
    ends_as(account, run, Status.COMPLETED)

    said = coffre("cancel", run.id, "--yes")

    assert said.status == 1
    assert "had ended before" in said.out
    assert "COMPLETED" in said.out


def test_a_run_that_does_not_end_is_said_not_to(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel_command, "_PATIENCE_SECONDS", 0.05)
    run = running(account)

    said = coffre("cancel", run.id, "--yes")

    assert said.status == 1
    assert "has not ended yet" in said.out


def test_what_does_not_run_is_refused_in_the_functions_words(coffre: Coffre, account: Account) -> None:
    done = account.backup()

    said = coffre("cancel", done.id, "--yes")

    assert said.status == 1
    assert "[RUN_ENDED]" in said.err
    assert "[BACKUP_UNKNOWN]" in coffre("cancel", "01K9X", "--yes").err
