"""The API over a deployment, asked by an administrator."""

import pytest
from tests.console_client import Client
from tests.console_scene import ConsoleScene


@pytest.fixture
def client(scene: ConsoleScene) -> Client:
    return Client(scene)
