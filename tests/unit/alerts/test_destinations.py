"""The secret with URLs: lines or JSON, who gets what, and errors that name the place and never the URL."""

from __future__ import annotations

import json
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.alerts.destinations import AlertDestination, parse_destinations
from coffre.alerts.message import Message
from coffre.model.errors import SecretError

WHERE = "coffre/alerts/urls"
SECRET = "T0KEN-hunter2"
LINES = f"""
# the team's channel
https://hooks.slack.com/services/T000/B000/{SECRET}

discord://1234/{SECRET}
not a url {SECRET}
  tgram://{SECRET}/42
"""


def message(**fields: str) -> Message:
    known = {"kind": "BACKUP_FAILED", "severity": "critical", "target": "shop", "state": "new"}
    return Message(subject="s", text="t", **{**known, **fields})


def test_one_url_a_line_with_blank_lines_and_comments() -> None:
    entries = parse_destinations(LINES, where=WHERE)

    assert list(entries) == [3, 5, 6, 7]
    assert entries[7].destination().url == f"tgram://{SECRET}/42"
    assert entries[3].place == f"line 3 of the secret {WHERE}"


def test_a_malformed_line_is_named_without_its_url_and_the_others_are_good() -> None:
    entry = parse_destinations(LINES, where=WHERE)[6]

    with pytest.raises(SecretError) as caught:
        entry.destination()

    assert caught.value.code == "ALERT_URL_MALFORMED"
    assert f"Line 6 of the secret {WHERE} cannot be used." in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(entry)


def test_json_can_say_which_alerts_a_url_gets() -> None:
    text = json.dumps(
        [
            f"slack://T000/B000/{SECRET}",
            {"url": "json://hooks.example.org/x", "kinds": ["BACKUP_FAILED"], "targets": ["shop"]},
            {"url": "json://hooks.example.org/y", "severities": ["critical", "warning"], "states": ["new"]},
        ]
    )
    every, picky, urgent = (entry.destination() for entry in parse_destinations(text, where=WHERE).values())

    assert every.wants(message(kind="ALARM", severity="info", target="-"))
    assert picky.wants(message())
    assert not picky.wants(message(target="blog"))
    assert not picky.wants(message(kind="QUOTA"))
    assert urgent.wants(message(severity="warning"))
    assert not urgent.wants(message(severity="info"))
    assert not urgent.wants(message(state="reminder"))


@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ({"url": f"nothing {SECRET}"}, "url: not a URL"),
        ({"kinds": []}, "url: not a URL"),
        ({"url": f"json://h/{SECRET}", "kind": ["X"]}, "kind: unknown field"),
        ({"url": f"json://h/{SECRET}", "kinds": ["BACKUP"]}, "kinds[0]: should be 'BACKUP_FAILED'"),
        ({"url": f"json://h/{SECRET}", "severities": "high"}, "severities:"),
        (7, "it must be a URL or an object"),
    ],
)
def test_a_wrong_entry_is_named_by_its_place(entry: object, detail: str) -> None:
    entries = parse_destinations(json.dumps(["json://good/x", entry]), where=WHERE)

    with pytest.raises(SecretError) as caught:
        entries[2].destination()

    assert f"Entry 2 of the secret {WHERE}" in caught.value.message
    assert detail in (caught.value.detail or "")
    assert SECRET not in str(caught.value)
    assert entries[1].destination().url == "json://good/x"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet", "[]"])
def test_a_secret_without_a_url_is_an_error(text: str) -> None:
    with pytest.raises(SecretError, match="has no URL") as caught:
        parse_destinations(text, where=WHERE)
    assert caught.value.code == "ALERT_URLS_INVALID"


def test_broken_json_is_an_error_with_its_line_and_without_its_text() -> None:
    with pytest.raises(SecretError) as caught:
        parse_destinations(f'["{SECRET}",\n oops]', where=WHERE)

    assert caught.value.detail == "line 2, column 2: Expecting value"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@given(st.text())
def test_whatever_the_secret_holds_it_is_destinations_or_an_error(text: str) -> None:
    try:
        entries = parse_destinations(text, where=WHERE)
    except SecretError:
        return
    for entry in entries.values():
        entry.wants(message())


@pytest.mark.parametrize(
    ("url", "webhook"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "https://hooks.slack.com/services/T0/B0/x"),
        ("slack://T0AB/B0CD/xyz", "https://hooks.slack.com/services/T0AB/B0CD/xyz"),
        ("slack://coffre@T0AB/B0CD/xyz/", "https://hooks.slack.com/services/T0AB/B0CD/xyz"),
        ("slack://T0AB/B0CD/xyz/#channel", None),
        ("slack://xoxb-1-2-3/#channel", None),
        ("https://hooks.slack.com.evil.example/services/T0/B0/x", None),
        ("json://127.0.0.1/x", None),
    ],
)
def test_incoming_webhooks_of_slack_are_known_and_the_rest_is_apprise_s(url: str, webhook: str | None) -> None:
    assert AlertDestination(url=url).slack_webhook == webhook
    assert AlertDestination(url=url, format="slack").slack_webhook == url
