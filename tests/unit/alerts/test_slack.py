"""Messages for Slack: its limits, its escapes, its moods (500, 429), and no URL in any error."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web import Web

from coffre.alerts.links import Link, links_of
from coffre.alerts.message import Message
from coffre.alerts.slack import SlackError, SlackRefusedError, payload_of, post

PATH = "/services/T000/B000/hunter2"
ALERT = Message(
    kind="BACKUP_FAILED",
    severity="critical",
    target="shop",
    state="new",
    subject="Backup of shop FAILED: LOCK_TIMEOUT",
    text="Why: a < b & c > d\n\n    coffre backup database shop\n\nRunbook: docs/runbooks/BACKUP_FAILED.md",
    function="coffre-backup-database",
)


def texts(payload: dict[str, Any], kind: str) -> list[str]:
    return [block["text"]["text"] for block in payload["blocks"] if block["type"] == kind]


# --- what Slack gets ---


def test_a_message_has_a_header_its_text_its_command_as_code_and_buttons() -> None:
    payload = payload_of(ALERT, [Link("Runbook", "https://example.org/BACKUP_FAILED.md")])

    assert texts(payload, "header") == ["\U0001f534 Backup of shop FAILED: LOCK_TIMEOUT"]
    assert texts(payload, "section") == [
        "Why: a &lt; b &amp; c &gt; d",
        "```coffre backup database shop```",
        "Runbook: docs/runbooks/BACKUP_FAILED.md",
    ]
    [actions] = [block for block in payload["blocks"] if block["type"] == "actions"]
    assert actions["elements"] == [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": "Runbook"},
            "url": "https://example.org/BACKUP_FAILED.md",
        }
    ]
    [context] = [block for block in payload["blocks"] if block["type"] == "context"]
    assert context["elements"][0]["text"] == "critical · BACKUP_FAILED · shop · new"
    assert payload["text"].endswith("Backup of shop FAILED: LOCK_TIMEOUT")


def test_good_news_is_green_and_without_links_there_are_no_buttons() -> None:
    payload = payload_of(ALERT.model_copy(update={"state": "recovered"}))

    assert payload["text"].startswith("\U0001f7e2")
    assert "actions" not in {block["type"] for block in payload["blocks"]}


@given(st.text(max_size=300), st.text(alphabet=st.sampled_from("a<&\n "), max_size=20_000))
def test_slack_s_limits_are_kept_whatever_the_text(subject: str, text: str) -> None:
    payload = payload_of(ALERT.model_copy(update={"subject": subject, "text": text}))

    assert len(payload["blocks"]) <= 50
    for block in payload["blocks"]:
        if block["type"] in ("header", "section"):
            assert 0 < len(block["text"]["text"]) <= (150 if block["type"] == "header" else 3000)
    assert json.loads(json.dumps(payload)) == payload


def test_links_lead_to_the_runbook_and_to_the_log_where_there_is_one() -> None:
    both = links_of(ALERT, runbooks_url="https://example.org/runbooks/", region="eu-west-1")
    alarm = ALERT.model_copy(update={"kind": "ALARM", "function": None})

    assert [link.label for link in both] == ["Runbook", "Log"]
    assert both[0].url == "https://example.org/runbooks/BACKUP_FAILED.md"
    assert both[1].url.endswith("log-group/$252Faws$252Flambda$252Fcoffre-backup-database")
    assert links_of(alarm, runbooks_url="https://example.org", region="eu-west-1") == []
    assert links_of(ALERT, runbooks_url=None, region="cn-north-1") == []


# --- how Slack takes it ---


def send(web: Web) -> list[float]:
    """Post a message; return the pauses that were made."""
    pauses: list[float] = []
    post(web.url + PATH, payload_of(ALERT), place="line 3 of the secret s", pause=pauses.append)
    return pauses


def test_a_message_is_posted_as_json(web: Web) -> None:
    assert send(web) == []

    [request] = web.received
    assert (request.method, request.path, request.headers["Content-Type"]) == ("POST", PATH, "application/json")
    assert request.json() == payload_of(ALERT)


def test_a_slack_that_fails_once_is_asked_again(web: Web) -> None:
    web.will_answer(PATH, 500, 503)

    assert send(web) == [1.0, 2.0]
    assert len(web.received) == 3


def test_a_slack_that_is_busy_is_given_the_time_that_it_asks_for(web: Web) -> None:
    web.will_answer(PATH, (429, {"Retry-After": "7"}), (429, {"Retry-After": "soon"}))

    assert send(web) == [7.0, 2.0]
    assert len(web.received) == 3


def test_a_slack_that_wants_a_longer_pause_is_left_to_a_later_try(web: Web) -> None:
    web.will_answer(PATH, (429, {"Retry-After": "3600"}))

    with pytest.raises(SlackError, match="429"):
        send(web)
    assert len(web.received) == 1


def test_a_slack_that_keeps_failing_is_an_error_that_may_pass_and_hides_the_url(web: Web) -> None:
    web.will_answer(PATH, 500, 500, 500)

    with pytest.raises(SlackError) as caught:
        send(web)

    assert "Slack answered 500" in str(caught.value)
    assert "line 3 of the secret s" in caught.value.message
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_webhook_that_was_revoked_is_not_tried_again(web: Web) -> None:
    web.will_answer(PATH, 404)

    with pytest.raises(SlackRefusedError) as caught:
        send(web)

    assert len(web.received) == 1
    assert "revoked" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hunter2", "http://[hunter2/", "http://hunter2.invalid/x"])
def test_a_host_that_is_not_there_is_an_error_without_the_url(url: str) -> None:
    with pytest.raises(SlackError) as caught:
        post(url, {}, place="line 1", pause=lambda _: None)

    text = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in text.replace(f'"{url}"', "").partition("Traceback")[0] + str(caught.value)
