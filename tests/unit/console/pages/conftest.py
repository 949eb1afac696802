"""The pages over a deployment, asked by an administrator with a hostile name."""

from dataclasses import replace

import pytest
from tests.console_client import ADMIN, Client
from tests.console_restores import HOSTILE
from tests.console_scene import ConsoleScene

from coffre_console.pages.site import Site

PERSON = replace(ADMIN, form_token="f" * 64, session="s")


@pytest.fixture
def client(scene: ConsoleScene) -> Client:
    return Client(scene, replace(PERSON, shown=HOSTILE), pages=Site())
