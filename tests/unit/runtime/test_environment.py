"""A function's environment: every variable that is missing or wrong is named, and no value repeated."""

import traceback
from pathlib import Path

import pytest

from coffre.model.errors import SettingsError
from coffre.runtime.environment import PostgresSettings, Settings

COMPLETE = {
    "COFFRE_CONFIGURATION": "/coffre/configuration",
    "COFFRE_VAULT_BUCKET": "vault",
    "COFFRE_CATALOG_TABLE": "catalog",
    "COFFRE_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "AWS_REGION": "eu-west-1",
    "COFFRE_LATER": "something that a newer template sets",
}


def test_a_complete_environment_is_read() -> None:
    settings = PostgresSettings.from_env({**COMPLETE, "COFFRE_VAULT_CHECKSUM": "md5", "COFFRE_VAULT_PREFIX": ""})

    assert settings.vault_bucket == "vault"
    assert settings.vault_checksum == "md5"
    assert settings.vault_prefix == ""
    assert settings.postgres_home == Path("/opt/postgresql")


def test_a_function_that_reads_backups_knows_an_identity() -> None:
    assert Settings.from_env(COMPLETE).identity_secret is None
    with_secret = {**COMPLETE, "COFFRE_IDENTITY_SECRET": "coffre/identity/main"}
    assert Settings.from_env(with_secret).identity_secret == "coffre/identity/main"


@pytest.mark.parametrize(
    "name", ["COFFRE_CONFIGURATION", "COFFRE_VAULT_BUCKET", "COFFRE_CATALOG_TABLE", "COFFRE_ALERT_TOPIC_ARN"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_variable_is_named(name: str, value: str | None) -> None:
    environment = {key: text for key, text in COMPLETE.items() if key != name}

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environment if value is None else {**environment, name: value})

    assert caught.value.detail == f"{name}: missing"
    assert "template.yaml" in (caught.value.hint or "")


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({})

    assert (caught.value.detail or "").count(": missing") == 4


def test_a_wrong_value_is_named_with_what_is_allowed_and_not_repeated() -> None:
    environment = {**COMPLETE, "COFFRE_VAULT_CHECKSUM": "hunter2"}

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environment)

    assert caught.value.detail == "COFFRE_VAULT_CHECKSUM: should be 'sha256' or 'md5'"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
