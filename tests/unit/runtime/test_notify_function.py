"""The function `notify`: each destination on its own, a broken one stops no other, and nothing is lost quietly."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.web import Web

from coffre.model.errors import CoffreError, EventError, SecretError, TransientError
from coffre.runtime.environment import NotifySettings
from coffre.runtime.events.notify import NotifyEvent
from coffre.runtime.notify_function import NotifyFunction
from coffre.runtime.observability import make_logger

EVENTS = Path(__file__).parents[3] / "events" / "notify"
ENVIRONMENT = {
    "COFFRE_CONFIGURATION": "c",
    "COFFRE_VAULT_BUCKET": "v",
    "COFFRE_CATALOG_TABLE": "t",
    "COFFRE_ALERT_TOPIC_ARN": "arn",
    "COFFRE_ALERT_URLS_SECRET": "coffre/alerts/urls",
}


@dataclass
class Aws:
    """Secrets Manager and Lambda, as far as the function uses them. What it starts, it is then called with."""

    secret: str
    refuses: bool = False
    started: list[dict[str, Any]] = field(default_factory=list)

    def get_secret_value(self, **wanted: str) -> dict[str, str]:
        assert wanted == {"SecretId": "coffre/alerts/urls"}
        return {"SecretString": self.secret}

    def invoke(self, **wanted: Any) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "Rate"}}, "Invoke")
        assert (wanted["FunctionName"], wanted["InvocationType"]) == ("coffre-notify", "Event")
        self.started.append(json.loads(wanted["Payload"]))


class Context:
    aws_request_id = "request-1"
    function_name = "coffre-notify"

    def get_remaining_time_in_millis(self) -> int:
        return 100_000


@dataclass
class Scene:
    """The function with its AWS, and a web server in the place of all services."""

    aws: Aws
    web: Web
    function: NotifyFunction
    lines: list[str]

    def call(self, event: object) -> dict[str, Any]:
        return self.function.handle(event, Context())

    def deliver(self) -> list[str]:
        """Call the function with what the topic delivers, then with each event that it starts; return the errors."""
        self.call(json.loads((EVENTS / "topic.json").read_text()))
        errors = []
        for event in self.aws.started:
            try:
                self.call(event)
            except CoffreError as error:
                errors.append(str(error))
        return errors


@pytest.fixture
def scene(web: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    aws, logger, lines = Aws(""), make_logger("notify"), []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logger.registered_formatter.format(record))

    handler = Lines()
    logger.addHandler(handler)
    settings = NotifySettings.from_env({**ENVIRONMENT, "COFFRE_RUNBOOKS_URL": "https://example.org/runbooks"})
    function = NotifyFunction(settings, logger, aws, aws, "eu-west-1", lambda _: None)  # type: ignore[arg-type]
    yield Scene(aws, web, function, lines)
    logger._logger.removeHandler(handler)


def secret(web: Web, *paths: str) -> str:
    """URLs of the web server: those of Slack for paths that begin with /services."""
    host = web.url.removeprefix("http://")
    entries = [
        {"url": f"http://{host}{path}", "format": "slack"} if path.startswith("/services") else f"json://{host}{path}"
        for path in paths
    ]
    return json.dumps(entries)


def test_one_destination_is_told_at_once(scene: Scene) -> None:
    scene.aws.secret = secret(scene.web, "/services/T/B/x")

    assert scene.deliver() == []

    assert scene.aws.started == []
    [request] = scene.web.received
    assert request.json()["text"].endswith("Backup of shop FAILED: LOCK_TIMEOUT")
    assert "https://example.org/runbooks/BACKUP_FAILED.md" in request.body.decode()


def test_several_destinations_get_an_invocation_each(scene: Scene) -> None:
    scene.aws.secret = secret(scene.web, "/services/T/B/x", "/one", "/two")

    assert scene.deliver() == []

    assert [event["destination"] for event in scene.aws.started] == [1, 2, 3]
    assert sorted(scene.web.paths()) == ["/one", "/services/T/B/x", "/two"]


def test_a_broken_destination_stops_no_other_and_is_not_quiet(scene: Scene) -> None:
    """It fails on its own, so Lambda tries it again and then keeps its event; the others are not told twice."""
    good = json.loads(secret(scene.web, "/services/gone", "/one"))
    scene.aws.secret = json.dumps(["not a url: hunter2", *good, "json://127.0.0.1:1/hunter2"])
    scene.web.will_answer("/services/gone", 500, 500, 500)

    malformed, slack, unreachable = scene.deliver()

    assert "Entry 1 of the secret coffre/alerts/urls cannot be used. [ALERT_URL_MALFORMED]" in malformed
    assert "SLACK_UNAVAILABLE" in slack
    assert "CHAT_UNAVAILABLE" in unreachable
    assert scene.web.paths().count("/one") == 1
    logged = [line for line in scene.lines if "run failed" in line]
    assert len(logged) == 3
    assert "hunter2" not in "".join([malformed, slack, unreachable, *scene.lines])


def test_a_line_of_the_secret_that_is_malformed_is_named(scene: Scene) -> None:
    scene.aws.secret = "# chats\n\nhunter2"

    with pytest.raises(SecretError, match="Line 3 of the secret coffre/alerts/urls cannot be used"):
        scene.deliver()


def test_what_nobody_wants_is_sent_to_nobody(scene: Scene) -> None:
    scene.aws.secret = json.dumps([{"url": "json://127.0.0.1:1/x", "kinds": ["QUOTA"]}] * 2)

    assert scene.deliver() == []
    assert scene.aws.started == []


def test_an_alarm_of_cloudwatch_is_sent_on(scene: Scene) -> None:
    scene.aws.secret = secret(scene.web, "/one")

    scene.call(json.loads((EVENTS / "alarm.json").read_text()))

    assert "A run of Coffre failed at every attempt" in scene.web.received[0].json()["message"]


def test_a_destination_that_was_removed_meanwhile_is_let_go(scene: Scene) -> None:
    scene.aws.secret = secret(scene.web, "/one")
    event = json.loads((EVENTS / "destination.json").read_text()) | {"destination": 9}

    assert scene.call(event) == {"sent": []}


def test_invocations_that_cannot_be_started_are_an_error_that_lambda_tries_again(scene: Scene) -> None:
    scene.aws.secret, scene.aws.refuses = secret(scene.web, "/one", "/two"), True

    with pytest.raises(TransientError, match="2 of 2 notifications could not be started"):
        scene.deliver()


def test_a_test_goes_to_every_destination_whatever_it_wants_and_tells_how_each_took_it(scene: Scene) -> None:
    one, gone = json.loads(secret(scene.web, "/one", "/services/gone"))
    scene.aws.secret = json.dumps([{"url": one, "kinds": ["QUOTA"]}, gone, "hunter2"])
    scene.web.will_answer("/services/gone", 404)

    tried = scene.call({"test": True})["tried"]

    assert [(one["place"].partition(" of")[0], one["sent"], one.get("code")) for one in tried] == [
        ("entry 1", True, None),
        ("entry 2", False, "SLACK_REFUSED"),
        ("entry 3", False, "ALERT_URL_MALFORMED"),
    ]
    assert "hunter2" not in json.dumps(tried)
    assert "this is a test" in scene.web.received[0].body.decode()


@pytest.mark.parametrize(
    "event",
    [{}, {"Records": []}, {"test": True, "destination": 1}, {"message": {}, "destination": 1}, {"tset": True}, [], "x"],
)
def test_an_event_that_means_nothing_is_refused(scene: Scene, event: object) -> None:
    with pytest.raises(EventError):
        scene.call(event)


@pytest.mark.parametrize("example", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_example_is_an_event(example: Path) -> None:
    NotifyEvent.parse(json.loads(example.read_text()))
