"""`coffre init`: the answers, what is made of them, and that a second run changes only what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.unit.cli.conftest import OUTPUTS, REGION, Account, Coffre
from tests.unit.cli.init_answers import Person, before, given

from coffre.model.errors import CoffreError
from coffre.model.kinds import Status
from coffre.vault.codec import new_identity, public_key
from coffre_cli import aws
from coffre_cli.commands.init import ask as asking
from coffre_cli.commands.init import init as command
from coffre_cli.commands.init import prove as proving
from coffre_cli.commands.init.ask import ask
from coffre_cli.commands.init.existing_resources import Before, Place, Secrets
from coffre_cli.commands.init.plan import Answers, document_of, plan_of, target_names
from coffre_cli.commands.init.prove import Findings, await_mail, prove
from coffre_cli.commands.init.questions import InitError, Questions
from coffre_cli.commands.init.server import Address, Server
from coffre_cli.commands.init.write import make_keys, write_files
from coffre_cli.deployed import DeployedStack
from coffre_cli.deploying.deploy import read_parameters

URL = "postgresql://ada:pa%2Fss@db.example.com:5432/shop"
MAIN, SPARE = public_key(new_identity()), public_key(new_identity())
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "encryption": "age",
    "recipients": [MAIN, SPARE],
    "targets": [{"name": "shop", "kind": "database", "secret": "coffre/database/shop", "limits": {"streams": 2}}],
    "vault_quota_bytes": 5,
}


BLOCKER = {
    "code": "ROLE_CANNOT_READ",
    "severity": "blocker",
    "state": "finding",
    "sentence": "The role cannot read it.",
    "docs": "docs/doctor.md",
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("coffre", tmp_path / "coffre")


@pytest.fixture
def secrets(aws_environment: None) -> Iterator[Secrets]:
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="avatars", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Secrets(boto3.client("secretsmanager"))


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers, with two databases."""
    monkeypatch.setattr(asking, "look_at", lambda address, provider: Server("17.6", ("crm", "shop")))


# --- questions ---


def test_at_most_six_questions_are_asked(place: Place, secrets: Secrets, reachable: None) -> None:
    person = Person([URL, "crm, shop", "avatars", "key.txt", "ops@example.com", "subnet-1, sg-1"])

    answers = ask(place, before(), secrets, given(), person.questions())

    assert len(person.asked) == 6
    assert answers == Answers(
        {"crm": "postgresql://ada:pa%2Fss@db.example.com:5432/crm", "shop": URL},
        ("avatars",),
        Path("key.txt"),
        "ops@example.com",
        ("subnet-1",),
        ("sg-1",),
    )


def test_an_answer_that_does_not_do_is_asked_again(
    place: Place, secrets: Secrets, reachable: None, capsys: pytest.CaptureFixture[str]
) -> None:
    person = Person(["mysql://a:hidden@host/shop", URL, "none", "shop", "", "", "ops", "ops@example.com"])

    answers = ask(place, before(), secrets, given(), person.questions())

    assert answers.databases == {"shop": URL}
    assert answers.mail == "ops@example.com"
    said = capsys.readouterr().err
    assert "This is not the address of a database." in said
    assert "The server has no database none." in said
    assert "ops is not a mail address." in said
    assert "hidden" not in said


def test_what_an_option_says_is_not_asked(
    place: Place, secrets: Secrets, reachable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_URL", URL)
    person = Person([])
    options = given(
        address="env:SOME_URL",
        databases=("shop",),
        buckets=("avatars",),
        offline=Path("key.txt"),
        mail="ops@example.com",
        subnets=("subnet-1",),
        security_groups=("sg-1",),
    )

    ask(place, before(), secrets, options, person.questions())

    assert person.asked == []


def test_a_second_run_asks_for_nothing_that_is_known(place: Place, secrets: Secrets, reachable: None) -> None:
    secrets.write("coffre/database/shop", URL)
    known = before(DOCUMENT, {"AlertEmail": "ops@example.com", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"})

    answers = ask(place, known, secrets, given(), Questions(False, _refuse, _refuse))

    assert answers == Answers({}, (), None, "ops@example.com", ("subnet-1",), ("sg-1",))


def _refuse(prompt: str) -> str:
    raise AssertionError(prompt)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--address is missing, and there is no terminal to ask at"),
        ({"address": URL}, "--address takes env:NAME or file:PATH."),
        ({"address": "env:NOT_SET"}, "The variable NOT_SET is empty"),
        ({"address": "file:nowhere"}, "The file nowhere cannot be read"),
        ({"databases": ("shop", "none")}, "The server has no database none."),
        ({"buckets": ("missing",)}, 'The bucket "missing" cannot be looked at.'),
        ({"mail": "ops"}, "ops is not a mail address."),
        ({"subnets": ("subnet-1",)}, "Subnets need a security group."),
    ],
)
def test_a_wrong_answer_is_one_clear_error(
    place: Place,
    secrets: Secrets,
    reachable: None,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setenv("SOME_URL", URL)
    wanted = given(**({"address": "env:SOME_URL"} | options if options else {}))

    with pytest.raises(InitError) as raised:
        ask(place, before(), secrets, wanted, Questions(False, _refuse, _refuse))

    assert words in raised.value.message
    assert raised.value.hint
    assert "pa%2Fss" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://a:b@ep-x-pooler.eu.aws.neon.tech/shop", "TRANSACTION_POOLER"),
        ("postgresql://a:b@aws-0-eu.pooler.supabase.com:6543/postgres", "TRANSACTION_POOLER"),
        ("mysql://a:b@host/shop", "INIT_ANSWER"),
    ],
)
def test_an_address_that_cannot_work_is_refused_before_anything_else(url: str, code: str) -> None:
    with pytest.raises(CoffreError) as raised:
        Address.parse(url, "the address")

    assert raised.value.code == code


def test_a_database_that_only_a_vpc_reaches_needs_its_subnets(
    place: Place, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_URL", "postgresql://a:b@127.0.0.1:1/shop")

    with pytest.raises(InitError, match="cannot be reached from this machine") as raised:
        ask(place, before(), secrets, given(address="env:SOME_URL"), Questions(False, _refuse, _refuse))
    within = given(address="env:SOME_URL", subnets=("subnet-1",), security_groups=("sg-1",))

    assert raised.value.code == "CONNECTION_REFUSED"
    assert ask(place, before(), secrets, within, Questions(False, _refuse, _refuse)).subnets == ("subnet-1",)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (URL, "postgresql://ada:pa%2Fss@db.example.com:5432/a%20%2Fb"),
        (f"{URL}?sslmode=verify-full", "postgresql://ada:pa%2Fss@db.example.com:5432/a%20%2Fb?sslmode=verify-full"),
        (
            '{"host": "h", "username": "u", "password": "p", "dbname": "shop"}',
            '{"host": "h", "username": "u", "password": "p", "dbname": "a /b"}',
        ),
    ],
)
def test_the_address_of_another_database_differs_in_its_name_alone(text: str, other: str) -> None:
    address = Address.parse(text, "the address")

    assert address.of_database("a /b") == other
    assert address.of_database("shop") == text
    assert Address.parse(other, "the other").connection.database == "a /b"


# --- the plan ---


def test_names_of_targets_are_plain_and_differ() -> None:
    assert target_names(["Shop", "shop", "Kunden & Co.", "日本"]) == {
        "Shop": "shop",
        "shop": "shop-2",
        "Kunden & Co.": "kunden-co",
        "日本": "database",
    }


def test_what_is_as_it_should_be_is_not_changed(place: Place) -> None:
    known = before(DOCUMENT, {"AlertEmail": "ops@example.com"})
    answers = Answers({"shop": URL}, (), None, "ops@example.com")

    plan = plan_of(place, known, answers, {"coffre/database/shop": URL})

    assert plan.changes == ()
    assert plan.secrets == {}
    assert document_of(known, plan, [MAIN, SPARE]) == DOCUMENT


def test_only_what_differs_is_changed_and_what_a_person_set_stays(place: Place) -> None:
    known = before(DOCUMENT, {"AlertEmail": "old@example.com", "SourceBuckets": "of-before"})
    answers = Answers({"shop": URL, "crm": URL}, ("avatars",), None, "ops@example.com")

    plan = plan_of(place, known, answers, {"coffre/database/shop": "another", "coffre/database/crm": None})

    assert plan.changes == (
        'Protect the database "crm" as the target crm.',
        "Protect the bucket avatars as files.",
        "Change the database's address in the secret coffre/database/shop.",
        "Store the database's address in the secret coffre/database/crm.",
        "Set SourceBuckets = of-before,avatars (it is of-before).",
        "Set AlertEmail = ops@example.com (it is old@example.com).",
    )
    document = document_of(known, plan, [MAIN, SPARE])
    assert document["vault_quota_bytes"] == 5
    assert document["targets"][0] == DOCUMENT["targets"][0]
    assert URL not in json.dumps([plan.changes, plan.parameters, document])
    assert URL not in repr(plan) + repr(answers)


def test_a_provider_that_is_named_is_kept_in_the_document(place: Place) -> None:
    known = before(DOCUMENT)
    answers = Answers({"shop": URL, "crm": URL}, provider="supabase")

    plan = plan_of(place, known, answers, {"coffre/database/shop": URL})

    assert [target["provider"] for target in plan.targets] == ["supabase", "supabase"]
    assert "Set provider: supabase of shop." in plan.changes
    assert plan.targets[0]["limits"] == {"streams": 2}


def test_all_databases_are_one_target_that_finds_new_ones(place: Place, secrets: Secrets, reachable: None) -> None:
    answers = ask(place, before(), secrets, given(), Person([URL, "all"]).questions())

    plan = plan_of(place, before(), answers, {})

    assert plan.targets == ({"name": "db", "kind": "database", "secret": "coffre/database/db", "databases": "all"},)
    assert plan.changes[0] == "Protect all databases of the server, new ones too, as the target db."
    assert plan.secrets == {"coffre/database/db": URL}


def test_another_stack_of_the_account_has_secrets_of_its_own(tmp_path: Path) -> None:
    other = Place("staging", tmp_path)

    plan = plan_of(other, before(), Answers({"shop": URL}), {})

    assert list(plan.secrets) == ["coffre/database/staging/shop"]
    assert plan.parameters["IdentitySecret"] == "coffre/identity/staging"


# --- what is written ---


def test_an_interrupted_run_is_continued_with_its_keys(place: Place, secrets: Secrets) -> None:
    answers = Answers({"shop": URL}, offline=place.directory / "offline-key.txt")
    first = make_keys(place, before(), answers, secrets)
    found = before(recipients=first[:1])

    assert make_keys(place, found, answers, secrets) == first
    assert len(set(first)) == 2
    assert (place.directory / "offline-key.txt").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_key_is_not_overwritten(place: Place, secrets: Secrets, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary")

    with pytest.raises(InitError, match="is no private key"):
        make_keys(place, before(), Answers({"shop": URL}, offline=file), secrets)

    assert file.read_text() == "dear diary"
    assert secrets.read("coffre/identity/main") is None


def test_the_files_can_be_read_and_deployed_and_hold_no_secret(place: Place) -> None:
    nothing: Before = before()
    plan = plan_of(place, nothing, Answers({"shop": URL}, ("avatars",), None, "ops@example.com"), {})

    parameters = write_files(place, nothing, plan, document_of(nothing, plan, [MAIN, SPARE]))

    assert read_parameters(place.parameters) == parameters
    assert json.loads(parameters["ConfigurationDocument"]) == json.loads(place.configuration.read_text())
    assert parameters["SourceBuckets"] == "avatars"
    assert "pa%2Fss" not in place.parameters.read_text() + place.configuration.read_text()


# --- the end ---


@pytest.mark.parametrize(
    ("arn", "is_missing"),
    [("PendingConfirmation", True), ("arn:aws:sns:eu-west-1:123456789012:alerts:1", False)],
)
def test_a_mail_that_is_not_confirmed_is_missing(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, arn: str, is_missing: bool
) -> None:
    class Sns:
        def get_paginator(self, name: str) -> Sns:
            assert name == "list_subscriptions_by_topic"
            return self

        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"Subscriptions": [{"Endpoint": "ops@example.com", "SubscriptionArn": arn}]}]

    monkeypatch.setattr(aws, "client", lambda name: Sns())
    findings = Findings()

    await_mail("topic", "ops@example.com", 0, findings)

    assert bool(findings.missing) is is_missing
    assert bool(findings.proved) is not is_missing


def test_without_a_mail_address_somebody_has_to_be_named(aws_environment: None) -> None:
    findings = Findings()

    await_mail("topic", None, 10, findings)

    assert findings.missing == ["No one is notified when a backup fails: coffre init --mail ADDRESS"]


def test_ctrl_c_says_how_to_continue(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command._Run, "begin", interrupted)

    said = coffre("init")

    assert said.status == 130
    assert "Run `coffre init` again: it continues where it was." in said.err


def test_a_backup_in_progress_is_waited_for_and_not_taken_twice(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = account.backup(Status.IN_PROGRESS)
    account.play = lambda function, event: {"at": "2026-11-28T12:00:00Z", "target": "shop", "results": [BLOCKER]}
    waited: list[str] = []

    def ended(deployed: DeployedStack, target: str, backup_id: str, **_: object) -> str:
        waited.append(backup_id)
        return "it was skipped"

    monkeypatch.setattr(proving, "wait_for_backup", ended)
    findings = Findings()

    prove(DeployedStack("safe", OUTPUTS), set(), findings)

    assert waited == [running.id]
    assert [event for _, event in account.invoked] == [{"doctor": True, "target": "shop", "probe": False}]
    assert findings.has_failed
    assert findings.missing[0] == "shop: The role cannot read it. [ROLE_CANNOT_READ] What to do: coffre doctor shop"
    assert "shop has no backup that was restored" in findings.missing[1]
