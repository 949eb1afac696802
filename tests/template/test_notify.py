"""The function `notify` in the template: only when there is a secret with URLs, and with no more rights than that."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.template.rendering import ACCOUNT, REGION, STACK, Rendered, read_template, render, strings

from coffre.model.configuration import parse_configuration

FUNCTION, ROLE = "NotifyFunction", "NotifyRole"
SECRETS = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-failedevents"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-alerttopic"


@pytest.fixture(scope="module")
def deployed() -> Rendered:
    return render(AlertUrlsSecret="coffre/alerts/urls", RunbooksUrl="https://example.org/runbooks")


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = read_template()["Resources"]
    return found


def test_everything_about_it_is_there_only_with_a_secret(resources: dict[str, Any]) -> None:
    about = {name for name, resource in resources.items() if FUNCTION in " ".join(strings(resource))}
    about |= {FUNCTION, ROLE, "NotifyLogs", "FailedEventsPolicy"}

    assert about >= {"NotifySubscription", "NotifyPermission"}
    assert {resources[name].get("Condition") for name in about} == {"HasAlertUrls"}
    assert read_template()["Outputs"][FUNCTION]["Condition"] == "HasAlertUrls"


def test_the_topic_starts_it_and_what_cannot_be_delivered_is_kept(deployed: Rendered) -> None:
    subscription = deployed.resources["NotifySubscription"]["Properties"]
    permission = deployed.resources["NotifyPermission"]["Properties"]
    policy = deployed.resources["FailedEventsPolicy"]["Properties"]

    assert (subscription["Protocol"], subscription["TopicArn"]) == ("lambda", TOPIC)
    assert subscription["RedrivePolicy"] == {"deadLetterTargetArn": QUEUE}
    assert (permission["Principal"], permission["SourceArn"]) == ("sns.amazonaws.com", TOPIC)
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": TOPIC}}


def test_its_role_reads_one_secret_starts_itself_and_reaches_nothing_else(deployed: Rendered) -> None:
    functions = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}"
    assert deployed.allows(ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/alerts/urls-AbCdEf")
    assert deployed.allows(ROLE, "lambda:InvokeFunction", f"{functions}-notify")
    assert deployed.allows(ROLE, "sqs:SendMessage", QUEUE)
    for name in ("coffre/identity/main", "coffre/database/main", "coffre/alerts/urls-two", "other"):
        assert not deployed.allows(ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{name}-AbCdEf")
    assert not deployed.allows(ROLE, "lambda:InvokeFunction", f"{functions}-restore")
    assert not deployed.allows(ROLE, "sns:Publish", TOPIC), "its failures must not come back to it"
    named = " ".join(strings(deployed.resources[ROLE]["Properties"]["Policies"]))
    assert not re.search(r"\b(s3|dynamodb|ssm|sns):", named)


def test_it_is_never_inside_a_vpc(resources: dict[str, Any]) -> None:
    """Networks of databases often have no way to the internet, and that is all that it needs."""
    assert resources[FUNCTION]["Properties"]["VpcConfig"] == {"Ref": "AWS::NoValue"}


def test_it_is_told_where_the_urls_and_the_runbooks_are(deployed: Rendered) -> None:
    variables = deployed.functions()[FUNCTION]["Environment"]["Variables"]

    assert variables["COFFRE_ALERT_URLS_SECRET"] == "coffre/alerts/urls"
    assert variables["COFFRE_RUNBOOKS_URL"] == "https://example.org/runbooks"


def test_a_heartbeat_url_gets_into_the_document_that_the_parameters_make() -> None:
    def document(**parameters: str) -> str:
        text = render(Encryption="none", **parameters).resources["Configuration"]["Properties"]["Value"]
        assert isinstance(text, str)
        return text

    url = "https://hc.example.org/7c0ffee?x=1&y=${z}"
    with_url, without = (
        parse_configuration(document(**parameters), where="the template").targets[0].alerts.heartbeat_url
        for parameters in ({"HeartbeatUrl": url}, {})
    )
    assert (with_url, without) == (url, None)
