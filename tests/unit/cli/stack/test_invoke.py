"""`coffre invoke`: an event from a file or standard input, and the function's own answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Account, Coffre

EVENTS = Path(__file__).parents[4] / "events"


def echo(function: str, event: Mapping[str, Any]) -> object:
    return {"function": function, "event": event}


def test_the_answer_of_the_function_is_printed(coffre: Coffre, account: Account) -> None:
    account.play = echo

    said = coffre("invoke", "backup_database", "--event", EVENTS / "backup_database" / "daily.json")

    assert (said.status, said.err) == (0, "")
    assert said.json()["event"] == {"tier": "DAILY", "scheduled_time": "2026-11-01T02:00:00Z"}
    assert account.invoked[0][0] == "safe-backup-database"


def test_an_event_can_come_from_standard_input(coffre: Coffre, account: Account) -> None:
    account.play = echo

    said = coffre("invoke", "restore", "--event", "-", stdin='{"backup_id": "latest"}')

    assert said.json() == {"function": "restore", "event": {"backup_id": "latest"}}


def test_a_failing_function_is_shown_in_words_and_fails(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: {"errorType": "EventError", "errorMessage": "Wrong.\n  What to do: Mend it."}

    said = coffre("invoke", "restore", "--event", "-", stdin="{}")

    assert said.status == 1
    assert said.json()["errorType"] == "EventError"
    assert said.err == "EventError: Wrong.\n  What to do: Mend it.\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [("{bad", "line 1: Expecting property name"), ("", "Expecting value"), ("{}\n{}", "line 2: Extra data")],
)
def test_what_is_no_json_is_refused(coffre: Coffre, account: Account, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "event.json"
    file.write_text(text)

    for event, where in ((file, str(file)), ("-", "standard input")):
        said = coffre("invoke", "restore", "--event", event, stdin=text)
        assert (said.status, said.out, account.invoked) == (1, "", [])
        assert f"The event in {where} is not valid JSON. [EVENT_INVALID]" in said.err
        assert why in said.err
        assert "What to do: events/ has an example of each event." in said.err


def test_a_file_that_cannot_be_read_is_named(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")

    assert "cannot be read: No such file" in coffre("invoke", "restore", "--event", tmp_path / "none").err
    assert "cannot be read: Is a directory" in coffre("invoke", "restore", "--event", tmp_path).err
    assert "is not text in UTF-8" in coffre("invoke", "restore", "--event", binary).err


def test_an_unknown_function_is_wrong_usage(coffre: Coffre, account: Account) -> None:
    said = coffre("invoke", "rotate_everything", "--event", "-")

    assert said.status == 2
    assert "'backup_database', 'backup_storage', 'restore'" in said.err
