"""`coffre doctor`: what is asked, what is shown, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.checkup import CheckResult, Checkup, Severity, State
from coffre.operations.doctor.checkup import Reader
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.local_facts import LocalFacts
from coffre_cli import stack_choice
from coffre_cli.commands.doctor import stack_readers
from coffre_cli.deployed import StackUnreachableError

NOW: Final = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
CURE: Final = 'GRANT pg_read_all_data TO "backup";'


def result(
    severity: Severity = Severity.BLOCKER,
    state: State = State.FINDING,
    code: str = "ROLE_CANNOT_READ",
    sentence: str = 'The role "backup" may not read 2 tables: the backup fails.',
) -> CheckResult:
    is_found = state is State.FINDING
    return CheckResult(
        code=code,
        severity=severity,
        state=state,
        sentence=sentence,
        evidence="public.orders, public.customers" if is_found else None,
        cure=CURE if is_found else None,
        docs=f"docs/doctor.md#{code.lower()}",
    )


def answering(account: Account, *results: CheckResult) -> None:
    def play(function: str, event: Mapping[str, Any]) -> object:
        return Checkup.of(NOW, event["target"], results).model_dump(mode="json")

    account.play = play


OK: Final = result(state=State.OK)
NOTE: Final = result(Severity.NOTE)
WARNING: Final = result(Severity.WARNING)
UNSEEN: Final = result(state=State.COULD_NOT_LOOK, sentence="Nothing answers at db:5432.")
UNSEEN_NOTE: Final = result(Severity.NOTE, State.COULD_NOT_LOOK, sentence="The role cannot see it.")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> list[CheckResult]:
    """What is to say about the stack and this machine: `test_stack_readers` has the real readers."""
    results = [result(state=State.OK, code="REGION_MISSING")]
    monkeypatch.setattr(
        "coffre_cli.commands.doctor.doctor.look_here", lambda deployed, **options: Checkup.of(NOW, None, results)
    )
    return results


@pytest.mark.parametrize(
    ("results", "options", "status"),
    [
        ([OK, NOTE], [], 0),
        ([OK, NOTE], ["--strict"], 0),
        ([OK, WARNING], [], 0),
        ([OK, WARNING], ["--strict"], 4),
        ([OK, WARNING, result()], ["--strict"], 1),
        ([OK, UNSEEN], [], 5),
        ([OK, UNSEEN, result()], [], 1),
        ([OK, WARNING, UNSEEN], ["--strict"], 5),
        ([OK, UNSEEN_NOTE], ["--strict"], 0),
        ([], [], 5),
    ],
)
def test_the_status_says_how_bad_it_is(
    coffre: Coffre, account: Account, results: list[CheckResult], options: list[str], status: int
) -> None:
    account.configure("shop")
    answering(account, *results)

    assert coffre("doctor", *options).status == status


def test_each_target_is_asked_where_its_backups_run(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "photos")
    answering(account, OK)

    said = coffre("doctor", "--probe")

    asked = {(function, event["target"], event["doctor"], event["probe"]) for function, event in account.invoked}
    assert {(function.removeprefix("safe-"), doctor, probe) for function, _, doctor, probe in asked} == {
        ("backup-database", True, True),
        ("backup-storage", True, True),
    }
    assert said.out.splitlines()[-1] == "Nothing was found that prevents backups."


def test_one_target_alone(coffre: Coffre, account: Account) -> None:
    account.configure("shop", "blog")
    answering(account, OK)

    coffre("doctor", "blog")

    assert [event["target"] for _, event in account.invoked] == ["blog"]


def test_the_worst_comes_first_with_the_command_to_paste(coffre: Coffre, account: Account) -> None:
    account.configure("shop")
    answering(account, OK, NOTE, WARNING, result())

    lines = coffre("doctor", "shop").out.splitlines()

    assert lines[0] == "shop: 1 blocker, 1 warning, 1 note, 1 ok"
    assert lines[1].startswith("BLOCKER ROLE_CANNOT_READ: ")
    assert lines[2] == "  Seen: public.orders, public.customers"
    assert lines[3] == f"  {CURE}"
    assert lines[4] == "  docs/doctor.md#role_cannot_read"
    assert [line.split()[0] for line in lines if line[:1].isupper()][:3] == ["BLOCKER", "WARNING", "NOTE"]
    assert lines[-1] == "Backups or restores do not work: shop."


def test_a_reason_that_many_checks_share_is_shown_once(coffre: Coffre, account: Account) -> None:
    account.configure("shop")
    codes = [f"CODE_{number}" for number in range(9)]
    answering(
        account,
        *(result(state=State.COULD_NOT_LOOK, code=code, sentence="Nothing answers at db:5432.") for code in codes),
    )

    out = coffre("doctor").out

    assert out.count("Nothing answers at db:5432.") == 1
    assert "(CODE_0, CODE_1, CODE_2, CODE_3, CODE_4 and 4 more)" in out
    assert "Not everything could be looked at: shop." in out


def test_scripts_get_an_array_with_a_version(coffre: Coffre, account: Account) -> None:
    account.configure("shop", "blog")
    answering(account, OK, result())

    said = coffre("doctor", "--json")

    assert [(one["version"], one["target"]) for one in said.json()] == [(1, None), (1, "shop"), (1, "blog")]
    assert said.json()[1]["results"][0] == {
        "code": "ROLE_CANNOT_READ",
        "severity": "blocker",
        "state": "finding",
        "subject": None,
        "sentence": 'The role "backup" may not read 2 tables: the backup fails.',
        "evidence": "public.orders, public.customers",
        "cure": CURE,
        "docs": "docs/doctor.md#role_cannot_read",
    }
    assert said.status == 1


def test_a_function_that_fails_could_not_look(coffre: Coffre, account: Account) -> None:
    account.configure("shop")

    account.play = lambda function, event: {"errorType": "Runtime.OutOfMemory", "errorMessage": "signal: killed"}

    said = coffre("doctor", "--json")

    assert said.status == 5
    assert [(one["code"], one["state"]) for one in said.json()[1]["results"]] == [("DOCTOR_STOPPED", "could_not_look")]


def test_the_stack_comes_first_and_counts_unless_a_target_is_named(
    coffre: Coffre, account: Account, here: list[CheckResult]
) -> None:
    account.configure("shop")
    answering(account, OK)
    here.append(result(code="SCHEDULE_DISABLED", sentence="A schedule is disabled."))

    said, of_target = coffre("doctor"), coffre("doctor", "shop")

    assert said.status == 1
    assert said.out.splitlines()[0] == "The stack: 1 blocker, 1 ok"
    assert said.out.splitlines()[-1] == "Backups or restores do not work: the stack."
    assert (of_target.status, "SCHEDULE_DISABLED" in of_target.out) == (0, False)


def test_a_machine_that_finds_no_stack_is_looked_at_first(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: str) -> None:
        raise StackUnreachableError(f"The stack {name} could not be looked up.")

    machine = LocalFacts(Refused("sts:GetCallerIdentity", "ExpiredToken: It has expired."), "eu-west-1", 0.0, (3, 13))
    monkeypatch.setattr(stack_choice, "_outputs", nowhere)
    monkeypatch.setattr(stack_readers, "readers_of_machine", lambda: (Reader((LocalFacts,), lambda: [machine]),))

    said = coffre("doctor")

    assert said.status == 1
    assert "BLOCKER CREDENTIALS_UNUSABLE: " in said.out
    assert "The stack safe could not be looked up." in said.err


def test_an_unknown_target_is_an_error(coffre: Coffre, account: Account) -> None:
    account.configure("shop")

    said = coffre("doctor", "shoop")

    assert said.status == 1
    assert "shoop" in said.err
    assert account.invoked == []


def test_the_level_doctor_of_verify_is_this_command(coffre: Coffre, account: Account) -> None:
    account.configure("shop")

    said = coffre("verify", "--level", "doctor")

    assert said.status == 2
    assert "coffre doctor [TARGET]" in said.err
