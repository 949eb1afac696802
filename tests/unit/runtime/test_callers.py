"""Who sent an event: only who holds the credentials is believed, and nothing that is not of this event and function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st
from tests.sts import ANSWER, Sts, sts_server

from coffre.model.audit import Actor
from coffre.model.confirmation import Act, Facts, IssuedPlan, Plan, Request, Seen
from coffre.model.errors import ConfirmationError, EventError, IdentityError
from coffre.model.restore import Scope
from coffre.policy.confirmation import refuse_approval
from coffre.runtime.bootstrap import Services
from coffre.runtime.caller_proof import Audience, Proof, digest_of, sign
from coffre.runtime.callers import VALID_FOR, Callers, for_console
from coffre.runtime.environment import Settings
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.backup import BackupStorageEvent
from coffre.runtime.events.drill import DrillEvent
from coffre.runtime.events.event import SentEvent
from coffre.runtime.events.restore import RestoreEvent, StorageRestoreEvent
from coffre.runtime.events.rotate import RotateEvent
from coffre.runtime.events.verify import VerifyEvent

RESTORE = Audience("aws", "eu-west-1", "123456789012", "coffre-restore")
ALICE = ReadOnlyCredentials("AKIAALICE", "alices secret", None, None)
ALICES_ROLE = ReadOnlyCredentials("ASIAALICE", "her session's secret", "IQoJb3JpZ2luX2VjE/+=", None)
MALLORY = ReadOnlyCredentials("AKIAMALLORY", "another secret", None, None)
ALICE_ARN = "arn:aws:iam::123456789012:user/ops/alice"
ROLE_ARN = "arn:aws:sts::123456789012:assumed-role/Operators/alice@example.com"
EVENT = {"backup_id": "latest", "target": "shöp", "replace": True, "rows": {"b": 1.5, "a": None}}


@pytest.fixture(scope="module")
def server() -> Iterator[Sts]:
    with sts_server() as running:
        yield running


@pytest.fixture
def sts(server: Sts) -> Sts:
    """An STS that knows Alice, as a user and in a role, and Mallory."""
    server.keys = {str(one.access_key): str(one.secret_key) for one in (ALICE, ALICES_ROLE, MALLORY)}
    server.arns = {"AKIAALICE": ALICE_ARN, "ASIAALICE": ROLE_ARN, "AKIAMALLORY": "arn:aws:iam::666666666666:root"}
    server.asked, server.status, server.headers, server.body, server.seconds = 0, None, {}, None, 0
    return server


def callers(sts: Sts, audience: Audience = RESTORE, **changed: Any) -> Callers:
    fields = {"environment": {"AWS_ENDPOINT_URL": sts.url}, "now": lambda: datetime.now(UTC), **changed}
    return Callers(audience, **fields)


def proof_of(sts: Sts, credentials: ReadOnlyCredentials = ALICE, audience: Audience = RESTORE) -> dict[str, str]:
    return sign(EVENT, audience, audience.sts_url({"AWS_ENDPOINT_URL": sts.url}), credentials)


def refusal(function: Callers, proof: dict[str, str], event: dict[str, Any] = EVENT) -> str:
    with pytest.raises(IdentityError) as caught:
        function.verified(Proof.model_validate(proof), digest_of(event))
    assert caught.value.code == "IDENTITY_UNVERIFIED"
    return caught.value.detail or ""


@pytest.mark.parametrize(("credentials", "arn"), [(ALICE, ALICE_ARN), (ALICES_ROLE, ROLE_ARN)])
def test_who_signed_an_event_is_verified(sts: Sts, credentials: ReadOnlyCredentials, arn: str) -> None:
    # When an event comes with a proof, as JSON of any shape
    sent = json.loads(json.dumps({**EVENT, "proof": proof_of(sts, credentials)}, indent=3))
    actor = callers(sts).verified(Proof.model_validate(sent["proof"]), digest_of(sent))

    # Then it is from whom STS says, a role with the name of its session
    assert actor == Actor(arn, verified=True)


def test_sts_is_asked_once_for_one_event(sts: Sts) -> None:
    function, proof = callers(sts), Proof.model_validate(proof_of(sts))

    for _ in range(3):
        assert function.verified(proof, digest_of(EVENT)).name == ALICE_ARN

    assert sts.asked == 1
    # An answer about one event says nothing about another.
    with pytest.raises(IdentityError):
        function.verified(proof, digest_of({}))


@pytest.mark.parametrize(
    "event",
    [
        {**EVENT, "target": "other"},
        {**EVENT, "replace": False},
        {**EVENT, "rows": {"b": 1.5, "a": 0}},
        {**EVENT, "actor": "arn:aws:iam::123456789012:user/bob"},
        {**EVENT, "confirm": "token"},
        {},
    ],
)
def test_a_proof_is_of_one_event(sts: Sts, event: dict[str, Any]) -> None:
    assert "status 403 (SignatureDoesNotMatch)" in refusal(callers(sts), proof_of(sts), event)


@pytest.mark.parametrize(
    "other",
    [
        Audience("aws", "eu-west-1", "123456789012", "coffre-rotate"),
        Audience("aws", "eu-west-1", "666666666666", "coffre-restore"),
        Audience("aws", "eu-west-2", "123456789012", "coffre-restore"),
        Audience("aws-us-gov", "eu-west-1", "123456789012", "coffre-restore"),
    ],
)
def test_a_proof_for_one_function_is_worth_nothing_to_another(sts: Sts, other: Audience) -> None:
    assert "SignatureDoesNotMatch" in refusal(callers(sts, other), proof_of(sts))


def test_a_request_that_was_signed_for_another_service_is_no_proof(sts: Sts) -> None:
    # Given a plain GetCallerIdentity, as Vault or a cluster asks for: without Coffre's headers
    elsewhere = sign({}, Audience("", "eu-west-1", "", ""), f"{sts.url}/", ALICE)

    assert "SignatureDoesNotMatch" in refusal(callers(sts), elsewhere)


def test_the_signature_of_somebody_else_does_not_become_alices(sts: Sts) -> None:
    forged = {**proof_of(sts, MALLORY), "key_id": "AKIAALICE"}

    assert "SignatureDoesNotMatch" in refusal(callers(sts), forged)
    assert "InvalidClientTokenId" in refusal(callers(sts), {**proof_of(sts), "key_id": "AKIANOBODYS"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_id", "AKIA/20260101/eu-west-1/sts/aws4_request, SignedHeaders=host, Signature="),
        ("key_id", "AKIAALICE\r\nX-Amz-Target: other"),
        ("key_id", "AKIAALICE\n"),
        ("key_id", ""),
        ("key_id", "A" * 129),
        ("date", "20261128T085500Z\r\nHost: evil.example"),
        ("date", "20261128"),
        ("token", "token\r\nAccept: application/json"),
        ("token", "token with spaces"),
        ("token", "t" * 8193),
        ("token", "tok\u0301en"),
        ("signature", "0" * 63),
        ("signature", "0" * 64 + "\n"),
        ("signature", "Z" * 64),
        ("url", "https://sts.evil.example/"),
        ("headers", {"host": "evil.example"}),
        ("method", "GET"),
        ("body", "Action=AssumeRoleWithWebIdentity"),
    ],
)
def test_a_proof_cannot_add_to_the_request(sts: Sts, field: str, value: object) -> None:
    sent = {**EVENT, "rows": None, "proof": {**proof_of(sts), field: value}}

    with pytest.raises(EventError) as caught:
        RotateEvent.parse({"proof": sent["proof"]})

    assert f"proof.{field}" in (caught.value.detail or "")
    assert str(value) not in str(caught.value) or value == ""
    assert sts.asked == 0


@pytest.mark.parametrize("age", [VALID_FOR + timedelta(seconds=1), -VALID_FOR - timedelta(seconds=1)])
def test_a_proof_is_valid_for_fifteen_minutes(sts: Sts, age: timedelta) -> None:
    proof = proof_of(sts)
    signed_at = datetime.strptime(proof["date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    assert "more than 15 minutes" in refusal(callers(sts, now=lambda: signed_at + age), proof)
    assert sts.asked == 0
    assert "does not exist" in refusal(callers(sts), {**proof, "date": "20261399T085500Z"})
    in_time = callers(sts, now=lambda: signed_at + age * 0.99).verified(Proof.model_validate(proof), digest_of(EVENT))
    assert in_time.verified


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (302, {"Location": "/elsewhere"}, b"", "status 302"),
        (307, {"Location": "http://127.0.0.1:9/"}, ANSWER.format(arn=ALICE_ARN).encode(), "status 307"),
        (500, {}, b"<Code>Internal\nFailure</Code>", "status 500:"),
        (200, {}, b"", "not XML"),
        (200, {}, b"{}", "not XML"),
        (200, {}, ANSWER.format(arn=ALICE_ARN).encode() + b" " * 20_000, "too long"),
        (200, {}, b"<!DOCTYPE x [<!ENTITY y 'z'>]>" + ANSWER.format(arn="&y;").encode(), "not one to"),
        # The text of another action's answer can be chosen by the caller (CVE-2020-16250).
        (200, {}, b"<AssumeRoleWithWebIdentityResponse>" + ANSWER.format(arn=ALICE_ARN).encode() +
         b"</AssumeRoleWithWebIdentityResponse>", "not one to GetCallerIdentity"),
        (200, {}, json.dumps({"Subject": ANSWER.format(arn=ALICE_ARN)}).encode(), "not XML"),
        (200, {}, ANSWER.replace("2011-06-15", "2012-06-15").format(arn=ALICE_ARN).encode(), "not one to"),
        (200, {}, ANSWER.format(arn=f"{ALICE_ARN}</Arn><Arn>{ALICE_ARN}").encode(), "not one to"),
        (200, {}, ANSWER.format(arn="arn:aws-cn:iam::123456789012:user/alice").encode(), "not one to"),
        (200, {}, ANSWER.format(arn=f"{ALICE_ARN}\n\x1b[31m".replace("\x1b", "&#10;")).encode(), "not one to"),
        (200, {}, ANSWER.format(arn="").encode(), "not one to"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_not_believed(
    sts: Sts, status: int, headers: dict[str, str], body: bytes, why: str
) -> None:
    sts.status, sts.headers, sts.body = status, headers, body

    assert why in refusal(callers(sts), proof_of(sts))
    assert sts.asked == 1


def test_a_network_without_sts_is_given_up(sts: Sts) -> None:
    # Given an STS that does not answer in time, one that refuses connections, and one whose name does not exist
    sts.seconds = 1
    proof = proof_of(sts)

    assert "within 0.05 seconds" in refusal(callers(sts, patience_seconds=0.05), proof)
    closed = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert "could not be asked" in refusal(callers(sts, environment=closed), proof)
    nowhere = {"AWS_ENDPOINT_URL": "http://sts.invalid"}
    assert "STS" in refusal(callers(sts, environment=nowhere), proof)


@pytest.mark.parametrize(
    ("partition", "region", "environment", "url"),
    [
        ("aws", "eu-west-1", {}, "https://sts.eu-west-1.amazonaws.com/"),
        ("aws-us-gov", "us-gov-west-1", {}, "https://sts.us-gov-west-1.amazonaws.com/"),
        ("aws-cn", "cn-north-1", {}, "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("aws", "eu-west-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "http://127.0.0.1:4566/"),
        ("aws", "r", {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_STS": "https://b/"}, "https://b/"),
    ],
)
def test_only_the_sts_of_the_functions_own_region_is_asked(
    partition: str, region: str, environment: dict[str, str], url: str
) -> None:
    assert Audience(partition, region, "1", "f").sts_url(environment) == url


def test_a_function_is_found_by_its_name_or_its_arn() -> None:
    arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:coffre-restore"

    assert Audience.near(ALICE_ARN, "eu-west-1", "coffre-restore") == RESTORE
    assert Audience.near(ALICE_ARN, "eu-west-1", arn).arn == arn
    assert Audience.near(ALICE_ARN, "eu-west-1", f"{arn}:live").arn == arn
    assert Audience.near("unknown", "eu-west-1", "f").account == ""


# --- Events and services ---


SETTINGS = Settings(
    configuration="c",
    vault_bucket="v",
    catalog_table="t",
    alert_topic_arn="arn:aws:sns:eu-west-1:123456789012:coffre-alerts",
)


@pytest.fixture
def services(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services of the function restore."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "coffre-restore")
    monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url)
    return Services("restore", SETTINGS)


def sent_by_alice(sts: Sts, event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "proof": sign(event, RESTORE, f"{sts.url}/", ALICE)}


def test_the_verified_name_counts_and_not_the_claimed_one(sts: Sts, services: Services) -> None:
    event = RotateEvent.parse(sent_by_alice(sts, {"target": "shop", "actor": "bob"}))

    assert services.actor(event) == services.actor(event, demanded=True) == Actor(ALICE_ARN, verified=True)


def test_without_a_proof_the_name_is_a_claim(services: Services) -> None:
    assert services.actor(RotateEvent.parse({"actor": "bob"})) == Actor("bob", verified=False)
    assert services.actor(RotateEvent.parse({})) == Actor("unknown", verified=False)


def test_a_proof_that_fails_leaves_a_claim_and_says_why_in_the_log(
    sts: Sts, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    sent = sent_by_alice(sts, {"actor": ALICE_ARN})

    actor = services.actor(RotateEvent.parse({**sent, "target": "shop"}))

    assert actor == Actor(ALICE_ARN, verified=False)
    [logged] = caplog.records
    assert logged.message == "the caller is not verified"
    assert "SignatureDoesNotMatch" in vars(logged)["why"]
    assert sent["proof"]["signature"] not in str(vars(logged))


@pytest.mark.parametrize("proven", [False, True])
def test_where_a_verified_caller_is_demanded_a_claim_is_refused(sts: Sts, services: Services, proven: bool) -> None:
    sts.status = 503
    event = sent_by_alice(sts, {"actor": "bob"})
    wanted = RotateEvent.parse(event if proven else {"actor": "bob"})

    with pytest.raises(IdentityError) as caught:
        services.actor(wanted, demanded=True)

    assert "It is not verified who sent this event. [IDENTITY_UNVERIFIED]" in str(caught.value)
    assert ("status 503" if proven else "has no proof") in str(caught.value)


NEXT: list[tuple[type[SentEvent], dict[str, Any], Callable[[Any], dict[str, Any]]]] = [
    (BackupStorageEvent, {"tier": "WEEKLY"}, lambda event: event.for_target("files")),
    (BackupStorageEvent, {"target": "files"}, lambda event: event.after("files", "01JD0000000000000000000000", 2)),
    (VerifyEvent, {"level": "read"}, lambda event: event.for_target("shop")),
    (DrillEvent, {}, lambda event: event.for_target("shop")),
    (
        StorageRestoreEvent,
        {"backup_id": "latest", "target": "files", "storage": {}},
        lambda event: event.next_invocation("01JD0000000000000000000000", "01JD0000000000000000000001", 2),
    ),
]


@pytest.mark.parametrize(("model", "event", "following"), NEXT, ids=lambda value: getattr(value, "__name__", ""))
def test_further_invocations_know_the_name_and_not_the_proof(
    sts: Sts, services: Services, model: type[SentEvent], event: dict[str, Any], following: Callable[[Any], Any]
) -> None:
    wanted = model.parse(sent_by_alice(sts, {**event, "actor": "bob"}))

    passed_on = following(wanted.sent_by(services.actor(wanted)))

    assert passed_on["actor"] == ALICE_ARN
    assert "proof" not in passed_on
    assert "proof" not in following(wanted)
    assert services.actor(model.parse(passed_on)) == Actor(ALICE_ARN, verified=False)


def test_an_event_that_names_none_is_passed_on_as_it_is(services: Services) -> None:
    event = DrillEvent.parse({})

    assert event.sent_by(services.actor(event)).for_target("shop") == {"target": "shop"}


def test_the_longest_arn_fits_into_the_next_event() -> None:
    event = DrillEvent.parse({"actor": "bob"}).sent_by(
        Actor(f"arn:aws:iam::123456789012:user/{'p' * 900}", verified=True)
    )

    assert DrillEvent.parse(event.for_target("shop")).actor == f"arn:aws:iam::123456789012:user/{'p' * 225}"


@pytest.mark.parametrize("name", ["", "bob\n", "\x1b[31mbob", "b\u202eob", "b\u200bob", "x" * 257])
def test_a_claimed_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(EventError) as caught:
        RotateEvent.parse({"actor": name})

    assert "actor: " in (caught.value.detail or "")


def test_a_proof_is_not_shown(sts: Sts) -> None:
    event = RestoreEvent.parse(sent_by_alice(sts, {"backup_id": "latest", "target": "shop", "destination": "d"}))

    shown = f"{event!r} {event} {event.model_dump()} {event.model_dump_json()} {event.proof!r}"
    assert event.proof is not None
    assert event.proof.signature not in shown
    assert event.proof.key_id not in shown


@given(st.dictionaries(st.text(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)))  # fmt: skip
def test_what_a_proof_is_of_survives_the_way_through_json(event: dict[str, Any]) -> None:
    received = json.loads(json.dumps(dict(reversed(event.items()))))

    assert digest_of(received) == digest_of({**event, "proof": {"any": "thing"}})


CONSOLE = "arn:aws:sts::123456789012:assumed-role/coffre-ConsoleRole-1A2B/coffre-console"


def test_the_consoles_role_says_who_signed_in() -> None:
    found = for_console(Actor(CONSOLE, verified=True), "anna@example.com", "coffre-ConsoleRole-1A2B", RESTORE)

    assert found == Actor("anna@example.com (console)", verified=True)


@pytest.mark.parametrize(
    ("arn", "role", "verified"),
    [
        (ROLE_ARN, "coffre-ConsoleRole-1A2B", True),
        (CONSOLE, None, True),
        (CONSOLE, "coffre-ConsoleRole-1A2B", False),
        (CONSOLE, "coffre-ConsoleRole", True),
        (CONSOLE.replace("123456789012", "999988887777"), "coffre-ConsoleRole-1A2B", True),
        ("arn:aws:iam::123456789012:user/:assumed-role/coffre-ConsoleRole-1A2B/x", "coffre-ConsoleRole-1A2B", True),
    ],
    ids=["another role", "no console", "claimed", "longer name", "other account", "a user's path"],
)
def test_no_one_else_says_who_someone_is(arn: str, role: str | None, verified: bool) -> None:
    actor = Actor(arn, verified=verified)

    assert for_console(actor, "anna@example.com", role, RESTORE) == actor


@pytest.mark.parametrize("role", ["coffre-ConsoleRole-1A2B", "coffre-DownloadRole-3C4D", "coffre-RestoreRole-5E6F"])
def test_no_role_of_the_stack_itself_is_a_person(sts: Sts, services: Services, role: str) -> None:
    # Given a function that knows the stack's roles, and one of them that has taken a session's name by choice
    known = SETTINGS.model_copy(
        update={
            "console_role": "coffre-ConsoleRole-1A2B",
            "own_roles": "coffre-RestoreRole-5E6F,coffre-ConsoleRole-1A2B,coffre-DownloadRole-3C4D",
        }
    )
    services = Services("restore", known)
    sts.arns["ASIAALICE"] = f"arn:aws:sts::123456789012:assumed-role/{role}/anyone"
    event = {"approve": {"plan": "a" * 64, "sha256": "b" * 64}}
    wanted = ApprovalEvent.parse({**event, "proof": sign(event, RESTORE, f"{sts.url}/", ALICES_ROLE)})
    now = datetime.now(UTC)
    seen = Seen(destination="d", name="shop", facts=Facts())
    plan = Plan(request=Request.of(Act.RESTORE, "shop", "b", "c" * 64, Scope(replace=True)), seen=seen)
    values = {"plan": plan, "plan_sha256": plan.sha256, "made_at": now, "expires_at": now + timedelta(hours=1)}
    issued = IssuedPlan(id="a" * 64, actor="anna (console)", verified=True, approvals=1, **values)

    # When it approves, without a name, the plan that it made in somebody's name
    who = services.actor(wanted)

    # Then it is no one, where the console may approve and where it may not
    assert who == Actor("unknown", verified=False)
    with pytest.raises(IdentityError, match="no person"):
        services.actor(wanted, demanded=True)
    for in_console in (False, True):
        with pytest.raises(ConfirmationError, match="not verified who approves"):
            refuse_approval(issued, plan.sha256, who, now, in_console=in_console)
