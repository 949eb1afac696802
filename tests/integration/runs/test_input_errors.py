"""Events, configuration documents and secrets that are wrong: nothing is begun, and the error names the place."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from botocore.stub import Stubber
from tests.integration.conftest import PASSWORD, Coffre, Context, client
from tests.integration.expect import failed_backup, lock_is_free, no_secret

from coffre.model.errors import CoffreError
from coffre.vault.codec import new_identity

# The run has to end before it looks for this host.
NOWHERE = f"postgresql://ada:{quote(PASSWORD, safe='')}@nowhere.invalid/shop"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudmvpnjsld5lcq"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"target": "shop", "tierr": "DAILY"}, ["tierr: unknown field", "Known fields: tier, target, scheduled_time"]),
        ({"target": "shop", "tier": "HOURLY"}, ["tier:", "'DAILY', 'WEEKLY', 'MONTHLY', 'MANUAL' or 'SAFETY'"]),
        ({"target": 7}, ["target:", "valid string"]),
        ({"target": "Shop!"}, ["target:"]),
        ({"target": "shop", "scheduled_time": "2026-10-02T02:00:00"}, ["scheduled_time:", "timezone"]),
        ({"target": "shop", "scheduled_time": "tomorrow"}, ["scheduled_time:"]),
        ({"target": "shop", "backup_id": "1"}, ["backup_id:"]),
        ({"backup_id": "01J9ZQ3V5W8X9YABCDEFGHJKMN"}, ["backup_id", "target"]),
        (["shop"], ["must be a JSON object, not list"]),
        ("shop", ["must be a JSON object, not str"]),
    ],
)
def test_a_wrong_event_is_refused_with_the_name_of_its_field(coffre: Coffre, event: object, words: list[str]) -> None:
    coffre.configure(NOWHERE)

    failed_backup(coffre, "EVENT_INVALID", *words, event=event, recorded=False)


def test_an_unknown_target_is_refused_and_the_known_ones_are_named(coffre: Coffre) -> None:
    coffre.configure(NOWHERE)

    failed_backup(
        coffre,
        "TARGET_UNKNOWN",
        '"shpo"',
        "Configured database targets: shop",
        event={"target": "shpo"},
        recorded=False,
    )


@pytest.mark.parametrize(
    ("event", "code", "words"),
    [
        ({"backup_id": "latest", "destination": "d", "colour": "red"}, "EVENT_INVALID", ["colour: unknown field"]),
        ({"backup_id": "latest"}, "EVENT_INVALID", ["a whole restore needs a destination"]),
        ({"backup_id": "newest", "destination": "d", "target": "shop"}, "EVENT_INVALID", ["backup_id"]),
        ({"backup_id": "latest", "destination": "d"}, "EVENT_INVALID", ['"latest" needs a target']),
    ],
)
def test_a_wrong_event_of_a_restore_is_refused(
    coffre: Coffre, event: dict[str, Any], code: str, words: list[str]
) -> None:
    with pytest.raises(CoffreError) as caught:
        coffre.restore_function().handle(event, Context())

    assert caught.value.code == code
    assert all(word in str(caught.value) for word in words)
    (alert,) = coffre.alerts()
    assert code in alert["Subject"]
    assert list(coffre.catalog.restores()) == []


TARGET = {"name": "shop", "secret": "coffre/database/shop"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"encryption": "aes", "targets": [TARGET]}, ["encryption:", "'age' or 'none'"]),
        ({"encryption": "age", "targets": [TARGET]}, ["recipients is empty", "coffre keys new"]),
        ({"targets": [TARGET]}, ["encryption: Field required"]),
        ({"encryption": "none", "recipients": [RECIPIENT], "targets": [TARGET]}, ["remove them"]),
        ({"encryption": "age", "recipients": ["age1short"], "targets": [TARGET]}, ["recipients[0]:", "pattern"]),
        ({"encryption": "none", "targets": []}, ["targets:", "at least 1 item"]),
        ({"encryption": "none", "targets": [TARGET, TARGET]}, ["used twice: shop"]),
        ({"encryption": "none", "targets": [TARGET], "colour": 1}, ["colour: unknown field"]),
        (
            {"encryption": "none", "targets": [{**TARGET, "limits": {"streams": 99}}]},
            ["targets[0].limits.streams:", "less than or equal to 16"],
        ),
        (
            {"encryption": "none", "targets": [{**TARGET, "tls": {"mode": "on"}}]},
            ["targets[0].tls.mode:", "'disable', 'prefer', 'require', 'verify-ca' or 'verify-full'"],
        ),
        ({"encryption": "none", "targets": [{**TARGET, "tls": {"ca": "/ca.pem"}}]}, ["targets[0].tls.ca:"]),
        ({"encryption": "none", "targets": [{"name": "shop"}]}, ["targets[0].secret: Field required"]),
        (["shop"], ["document:", "valid dictionary"]),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_path_and_what_is_allowed(
    coffre: Coffre, document: object, words: list[str]
) -> None:
    coffre.document(json.dumps(document))

    failed_backup(coffre, "CONFIGURATION_INVALID", "configuration", *words, recorded=False)


def test_a_configuration_that_is_not_json_is_refused_with_line_and_column(coffre: Coffre) -> None:
    coffre.document('{"encryption": "none",\n "targets": [}')

    failed_backup(coffre, "CONFIGURATION_INVALID", "not valid JSON", "line 2, column 14", recorded=False)


def test_a_secret_in_the_wrong_field_of_the_configuration_is_not_repeated(coffre: Coffre) -> None:
    target = {**TARGET, "name": NOWHERE, "secrets": NOWHERE}
    coffre.document(json.dumps({"encryption": "none", "targets": [target]}))

    failed_backup(coffre, "CONFIGURATION_INVALID", "targets[0].name:", "targets[0].secrets", recorded=False)


def test_a_missing_configuration_is_an_error_that_names_the_parameter(coffre: Coffre) -> None:
    failed_backup(coffre, "CONFIGURATION_MISSING", "SSM parameter configuration", "ssm:GetParameter", recorded=False)


def test_a_recipient_with_a_typing_mistake_stops_the_backup(coffre: Coffre) -> None:
    coffre.configure(NOWHERE, recipients=[RECIPIENT.replace("ql3z", "ql3y")])

    failed_backup(coffre, "RECIPIENT_INVALID", "age1ql3y", "coffre keys new")


def test_a_missing_secret_is_an_error_that_names_it(coffre: Coffre) -> None:
    coffre.configure(NOWHERE, target={"secret": "coffre/database/shpo"})

    failed_backup(coffre, "SECRET_MISSING", "coffre/database/shpo", "Secrets Manager")


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("postgresql://", ["no host and no user and no database"]),
        ("postgresql://ada:{password}@db.example.com", ["no database"]),
        ("postgresql://ada:{password}@db.example.com:5432a/shop", ["percent-encode"]),
        # The password was not percent-encoded: what stands before its # is taken for the port.
        ("postgresql://ada:{part}#{password}@db.example.com:5432/shop", ["percent-encode"]),
        ("postgresql://ada:{password}@db.example.com:99999/shop", ["percent-encode"]),
        ("postgresql://ada:{password}@db.example.com/shop?options=-cfoo", ["unknown URL option options", "sslmode"]),
        ("postgresql://ada:{password}@db.example.com/shop?{password}", ["cannot be read"]),
        ("postgresql://ada:{password}@db.example.com/shop?sslmode=on", ["sslmode", "verify-full"]),
        ("db.example.com ada {password}", ["neither a postgresql:// URL nor a JSON object"]),
        ('{{"host": "db.example.com", "password": "{password}"', ["neither a postgresql:// URL nor a JSON object"]),
        ('["{password}"]', ["neither a postgresql:// URL nor a JSON object"]),
        ('{{"host": "h", "password": "{password}"}}', ["missing or not text: username, dbname"]),
        ('{{"host": "h", "username": "u", "dbname": "d"}}', ["missing or not text: password"]),
        ('{{"host": 1, "username": "u", "password": "{password}", "dbname": "d"}}', ["missing or not text: host"]),
        ('{{"host": "h", "username": "u", "password": "{password}", "dbname": "d", "port": "x"}}', ["port"]),
        ('{{"host": "h", "username": "u", "password": "{password}", "dbname": "d", "port": 0}}', ["port", "65535"]),
        ('{{"host": "h", "username": "u", "password": "{password}", "dbname": "d", "port": 70000}}', ["port", "65535"]),
        ('{{"host": "h", "username": "u", "password": "{password}\\u0000", "dbname": "d"}}', ["password", "NUL"]),
        ('{{"host": "h", "username": "u", "password": "{password}", "dbname": "d", "sslmode": "on"}}', ["sslmode"]),
        ('{{"url": "mysql://ada:{password}@h/d"}}', ["postgresql://"]),
    ],
)
def test_a_secret_of_another_shape_is_refused_without_repeating_it(
    coffre: Coffre, secret: str, words: list[str]
) -> None:
    coffre.configure(NOWHERE)
    password = quote(PASSWORD, safe="")
    coffre.secret("coffre/database/shop", secret.format(password=password, part=password))

    error = failed_backup(coffre, "SECRET_SHAPE", "coffre/database/shop", *words)

    assert "postgresql://user:password@host:5432/" in str(error.hint)


def test_a_secret_of_bytes_is_refused(coffre: Coffre) -> None:
    coffre.configure(NOWHERE, target={"secret": "coffre/database/bytes"})
    client("secretsmanager").create_secret(Name="coffre/database/bytes", SecretBinary=b"\x00\x01")

    failed_backup(coffre, "SECRET_SHAPE", "coffre/database/bytes", "has no text")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            "AccessDeniedException",
            "SECRET_DENIED",
            ["may not read the secret coffre/database/shop", "DatabaseSecret"],
        ),
        ("InternalServiceError", "SECRET_UNREADABLE", ["coffre/database/shop", "InternalServiceError"]),
    ],
)
def test_a_secret_that_aws_does_not_give_is_an_error(
    coffre: Coffre, shop: str, answer: str, code: str, words: list[str]
) -> None:
    # Given a function whose role may not read the secret
    coffre.configure(shop)
    function = coffre.backup_function()
    with Stubber(function.services.secrets) as secrets:
        secrets.add_client_error("get_secret_value", answer, http_status_code=400)

        # Then the backup fails
        failed_backup(coffre, code, *words, function=function)

    # And once it may, the next backup works
    assert coffre.backup()["status"] == "COMPLETED"


def test_one_wrong_target_does_not_hurt_the_others(coffre: Coffre, shop: str) -> None:
    """A document with two targets, one of whose secrets is missing."""
    coffre.configure(shop)
    coffre.document(
        json.dumps({"encryption": "none", "targets": [TARGET, {"name": "gone", "secret": "coffre/database/gone"}]})
    )

    with pytest.raises(CoffreError, match="SECRET_MISSING"):
        coffre.backup(target="gone")

    assert coffre.backup()["status"] == "COMPLETED"
    assert lock_is_free(coffre)


def test_an_identity_in_a_log_is_a_defect_that_these_tests_see(coffre: Coffre) -> None:
    coffre.log_lines.append(f"identity: {coffre.identity}")

    with pytest.raises(AssertionError):
        no_secret(coffre)

    coffre.log_lines.append(new_identity())
