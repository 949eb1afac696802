"""Clients of the local AWS never reach the user's own."""

import os
import subprocess

import pytest

from coffre_local.aws import activated, isolated, session, shell_commands

LOCAL = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
OWN = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL_S3": "https://s3.example"}


@pytest.fixture(autouse=True)
def own_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that is set up for the user's production account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in OWN.items():
        monkeypatch.setenv(name, value)


def test_a_child_process_sees_the_local_aws_only() -> None:
    child = isolated(LOCAL)

    assert {name: value for name, value in child.items() if name.startswith("AWS_")} == LOCAL
    assert child["PATH"] == os.environ["PATH"]


def test_this_process_gets_its_own_aws_back() -> None:
    before = dict(os.environ)

    with activated(LOCAL):
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ACCESS_KEY_ID"] == "test"

    assert dict(os.environ) == before


def test_a_session_ignores_the_users_profile() -> None:
    local = session(LOCAL)

    credentials = local.get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.token) == ("test", None)
    assert local.region_name == "eu-west-1"
    assert local.client("sqs", endpoint_url=LOCAL["AWS_ENDPOINT_URL"]).meta.endpoint_url == LOCAL["AWS_ENDPOINT_URL"]


def test_a_shell_that_was_set_up_for_another_aws_is_led_to_this_one() -> None:
    script = "\n".join([*shell_commands({**LOCAL, "COFFRE_STACK": "it's mine"}), "env"])

    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()

    seen = {line for line in said if line.startswith(("AWS_", "COFFRE_"))}
    assert seen == {f"{name}={value}" for name, value in {**LOCAL, "COFFRE_STACK": "it's mine"}.items()}
