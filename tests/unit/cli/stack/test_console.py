"""`coffre console`: the address of the stack's console, opened in a browser unless it is asked not to be."""

from __future__ import annotations

import json
import webbrowser

import boto3
import pytest
from tests.unit.cli.conftest import OUTPUTS, Account, Coffre

from coffre_cli import stack_choice

API = "https://abc.execute-api.eu-west-1.amazonaws.com"
PEOPLE = {"issuer": "https://login.example.com", "client_id": "coffre", "roles": [{"group": "dba", "role": "admin"}]}


def test_the_address_is_opened_or_printed_and_a_console_that_is_off_is_an_error(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def opens(address: str) -> bool:
        opened.append(address)
        return len(opened) > 1

    monkeypatch.setattr(webbrowser, "open", opens)

    off = coffre("console")
    assert (off.status, opened) == (1, [])
    assert "[CONSOLE_OFF]" in off.err
    assert "Console=on" in off.err

    monkeypatch.setattr(stack_choice, "_outputs", lambda name: {**OUTPUTS, "ConsoleAddress": API})
    alone = coffre("console")
    assert (alone.status, alone.out, opened) == (0, f"{API}\n", [API])
    assert "lets no one in yet" in alone.err
    assert "No browser could be opened" in alone.err
    assert coffre("console", "--json").json() == {"address": API, "sign_in": False}
    with_pool = {**OUTPUTS, "ConsoleAddress": API, "ConsoleUserPool": "eu-west-1_abc"}
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: with_pool)
    assert coffre("console", "--json").json() == {"address": API, "sign_in": True}

    ssm = boto3.client("ssm")
    document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
    document["console"] = {**PEOPLE, "address": "https://backups.example.com/"}
    ssm.put_parameter(Name="configuration", Value=json.dumps(document), Type="String", Overwrite=True)
    own = coffre("console", "--no-browser")
    assert (own.status, own.out, own.err, opened) == (0, "https://backups.example.com\n", "", [API])
    assert coffre("console").out == own.out
    assert opened == [API, "https://backups.example.com"]
