"""A deployment as the console sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws
from tests.console_scene import ConsoleScene


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        yield


@pytest.fixture
def scene(aws: None, tmp_path: Path) -> ConsoleScene:
    return ConsoleScene.make(tmp_path)
