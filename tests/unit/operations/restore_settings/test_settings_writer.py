"""Settings are put back whatever became of their places meanwhile."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from coffre.model.errors import DestinationError
from coffre.model.setting import Setting, SettingFacts
from coffre.operations.restore_settings.settings_writer import Parameters, Secrets


@mock_aws
def test_a_secret_that_was_made_without_a_value_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("secretsmanager", region_name="eu-west-3")
    client.create_secret(Name="app/db", Description="made by a template")
    place = Secrets(client)

    assert place.read("app/db") is None
    place.create("app/db", Setting(value=b"hunter2", facts=SettingFacts(type="text", tags={"team": "x"})))

    assert place.read("app/db") == b"hunter2"
    assert client.describe_secret(SecretId="app/db")["Description"] == "made by a template"


class Advanced:
    """SSM, for a parameter of the tier Advanced: it does not become a standard one again."""

    def __init__(self, others: str | None = None) -> None:
        self.others = others
        self.asked: list[tuple[str, str]] = []

    def put_parameter(self, **wanted: Any) -> None:
        self.asked.append((wanted["Tier"], wanted["Value"]))
        if wanted["Tier"] == "Standard" or self.others:
            raise ClientError({"Error": {"Code": self.others or "ValidationException"}}, "PutParameter")


def test_a_parameter_that_has_become_an_advanced_one_is_put_back_as_such() -> None:
    setting = Setting(value=b"5", facts=SettingFacts(type="String", tier="Standard"))
    client: Any = Advanced()

    Parameters(client).change("/app/x", setting)
    assert client.asked == [("Standard", "5"), ("Advanced", "5")]

    for others, tries in (("ValidationException", 2), ("AccessDeniedException", 1)):
        client = Advanced(others)
        with pytest.raises(DestinationError, match="failed for /app/x"):
            Parameters(client).change("/app/x", setting)
        assert len(client.asked) == tries
