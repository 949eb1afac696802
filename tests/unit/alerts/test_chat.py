"""What apprise sends on: to a local web server, with errors that never have the URL."""

from __future__ import annotations

import traceback

import pytest
from tests.unit.alerts.test_slack import ALERT
from tests.web import Web

from coffre.alerts import chat
from coffre.alerts.links import Link
from coffre.model.errors import SecretError


def url_of(web: Web) -> str:
    return web.url.replace("http://", "json://") + "/hook/hunter2"


def test_a_message_arrives_with_its_links(web: Web) -> None:
    chat.send(url_of(web), ALERT, [Link("Log", "https://example.org/log")], place="line 1")

    [request] = web.received
    body = request.json()
    assert request.path == "/hook/hunter2"
    assert body["title"] == ALERT.subject
    assert body["message"] == f"{ALERT.text}\nLog: https://example.org/log"
    assert body["type"] == "failure"


def test_good_news_is_a_success(web: Web) -> None:
    chat.send(url_of(web), ALERT.model_copy(update={"state": "recovered"}), [], place="line 1")

    assert web.received[0].json()["type"] == "success"


def test_a_service_that_refuses_is_an_error_with_its_status_and_without_the_url(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.will_answer("/hook/hunter2", 500)

    with pytest.raises(chat.ChatError) as caught:
        chat.send(url_of(web), ALERT, [], place="line 3 of the secret s")

    assert "line 3 of the secret s" in caught.value.message
    assert caught.value.detail == "It answered 500."
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize(
    "url", ["nonsense://hunter2/x", "discord://hunter2", "https://example.org/hunter2", "tgram://"]
)
def test_a_url_that_no_service_has_is_malformed_and_not_repeated(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SecretError) as caught:
        chat.send(url, ALERT, [], place="line 3 of the secret s")

    assert caught.value.code == "ALERT_URL_MALFORMED"
    assert caught.value.message == "Line 3 of the secret s cannot be used."
    assert "hunter2" not in str(caught.value) + caplog.text
